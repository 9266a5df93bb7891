use super::super::samples::{event, every_kind, indkaldelse, sample};
use super::DecodeError::{Damaged, Truncated, UnknownVersion};
use super::*;
use crate::core::event::Event;

fn stored(event: &Event) -> Vec<u8> {
    let mut out = Vec::new();
    encode_event(event, &mut out);
    out
}

#[test]
fn every_kind_comes_back_as_it_was() {
    for json in every_kind() {
        let event = event(&json);
        assert_eq!(decode_event(&stored(&event)), Ok(event), "{json}");
    }
}

#[test]
fn every_field_comes_back_as_it_was() {
    let check = |piece: &str, replacement: &str| {
        let json = indkaldelse();
        assert!(json.contains(piece), "{piece}");
        let event = event(&json.replacen(piece, replacement, 1));
        assert_eq!(decode_event(&stored(&event)), Ok(event), "{piece} -> {replacement}");
    };
    for time in ["Z", ".000Z", ".123456+00:00", ".1234567Z", "-00:30", "-00:00", "+14:00"] {
        check("08:00:00+01:00", &format!("08:00:00{time}"));
    }
    for id in ["a", "5A0C1F6E-9A53-4C57-8B1D-3F0A7C2E4D91", "00000000-0000-0000-0000-000000000000", "5a0c1f6e9a534c578b1d3f0a7c2e4d91"] {
        check("5a0c1f6e-9a53-4c57-8b1d-3f0a7c2e4d91", id);
        check("01JQ8ZJ3V5T9W2K4M6N8P0R2S4", id);
        check("\"VersionIdentifier\": null", &format!("\"VersionIdentifier\": \"{id}\""));
    }
    check("urn:dk:star:dfdg:kontaktforloeb", "urn:dk:star:dfdg:");
    check("urn:dk:star:dfdg:kontaktforloeb", "https://example.org/æ");
    check("0101010001", "9112990009");
    check("\"Type\": \"kommune\", \"Kode\": \"860\"", "\"Type\": \"star\", \"Kode\": \"860\"");
    check("\"Type\": \"kommune\", \"Kode\": \"860\"", "\"Type\": \"akasse\", \"Kode\": \"067\"");
    check("{\"Type\": \"kommune\", \"Kode\": \"860\"}", "null");
    check("\"Startdato\": \"2026-03-16\", \"Slutdato\": null", "\"Startdato\": \"1850-01-01\", \"Slutdato\": \"2499-12-31\"");
    check("\"Startdato\": \"2026-03-16\", \"Slutdato\": null", "\"Slutdato\": \"1969-12-31\"");
}

#[test]
fn the_sample_is_small() {
    assert_eq!(stored(&event(&indkaldelse())).len(), 91);
}

/// Rows of version 1 that a released program has written must stay readable.
#[test]
fn version_1_stays_readable() {
    let fixture = include_str!("../../../tests/fixtures/event-v1.hex");
    let rows: Vec<Vec<u8>> = fixture
        .lines()
        .map(|line| line.as_bytes().chunks(2).map(|pair| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).expect("hex")).collect())
        .collect();
    let samples = every_kind();
    assert_eq!(rows.len(), samples.len());
    for (row, json) in rows.iter().zip(&samples) {
        assert_eq!(decode_event(row), Ok(event(json)), "{json}");
        assert_eq!(*row, stored(&event(json)), "written differently now: that needs a version of its own");
    }
}

#[test]
fn refuses_bytes_that_are_not_an_event() {
    let good = stored(&event(&sample("Plan", 1, r#"{"Plantype":"Jobplan","SenereVersion":"v"}"#)));
    for len in 0..good.len() {
        assert!(decode_event(&good[..len]).is_err(), "cut to {len}");
    }
    assert_eq!(decode_event(&[good.as_slice(), &[0]].concat()), Err(Damaged("end")));
    assert_eq!(decode_event(&[2]), Err(UnknownVersion(2)));
    assert_eq!(decode_event(&[]), Err(Truncated));
    assert_eq!(decode_event(&[1, 0]), Err(Damaged("Aendringstype")));
    assert_eq!(decode_event(&[1, 0x81]), Err(Damaged("head")));
    assert_eq!(decode_event(&[&[1, 1][..], &[0xff; 9], &[1]].concat()), Err(Truncated));
    assert_eq!(decode_event(&[&[1, 1][..], &[0xff; 10]].concat()), Err(Damaged("varint")));
}
