//! Writes a deletion order: the CloudEvent that asks DFDG to delete a record.

use super::rfc3339;
use super::wsb::text;
use crate::core::engine::OutgoingOrder;

/// The type of a deletion order without the prefix and version that its
/// CloudEvent type has.
pub const ORDER_KIND: &str = "SletningForfalden";

/// Writes the body of a deletion order. The personnummer stands in `data` only.
#[must_use]
pub fn write_order(order: &OutgoingOrder) -> Vec<u8> {
    let mut out = Vec::with_capacity(448);
    out.extend_from_slice(b"{\"specversion\":\"1.0\",\"id\":");
    text(&mut out, &[&order.id.to_string()]);
    out.extend_from_slice(b",\"source\":\"urn:dk:star:wsb-broker\",\"type\":");
    text(&mut out, &["dk.star.dfdg.", ORDER_KIND, ".v1"]);
    out.extend_from_slice(b",\"time\":\"");
    rfc3339::write(&mut out, order.at, rfc3339::MILLISECONDS_UTC);
    out.extend_from_slice(b"\",\"datacontenttype\":\"application/json\",\"data\":{\"Dataomraade\":");
    text(&mut out, &[&order.area]);
    out.extend_from_slice(b",\"EntitetNavn\":");
    text(&mut out, &[&order.entity]);
    out.extend_from_slice(b",\"EksternIdentifier\":");
    text(&mut out, &[order.external_id.as_str()]);
    out.extend_from_slice(b",\"Personnummer\":");
    text(&mut out, &[order.personnummer.digits()]);
    out.extend_from_slice(b",\"Forfaldsdato\":");
    text(&mut out, &[&order.due.to_string()]);
    out.extend_from_slice(b"}}");
    out
}

#[cfg(test)]
mod tests {
    use crate::core::ids::CitizenId;
    use crate::core::ids::{ExternalId, OrderId, Personnummer};
    use crate::core::time::{Day, Moment};

    use super::*;

    #[test]
    fn an_order_as_it_stands_on_the_wire() {
        let external_id = ExternalId::parse("6f1c3d52-8f0a-5b7e-9a44-7c1e57b00001").expect("an external id");
        let due = Day::parse("2032-03-17").expect("a day");
        let order = OutgoingOrder {
            token: 1,
            id: OrderId::of("Fravaer", &external_id, due, CitizenId(1)),
            area: "fravaer".into(),
            entity: "Fravaer".into(),
            external_id: external_id.clone(),
            personnummer: Personnummer::parse("0101901234").expect("a number"),
            due,
            at: Moment::parse("2032-03-17T00:00:01.5+01:00").expect("a moment"),
        };
        let expected = "{\"specversion\":\"1.0\",\"id\":\"2032\",\"source\":\"urn:dk:star:wsb-broker\",\
            \"type\":\"dk.star.dfdg.SletningForfalden.v1\",\"time\":\"2032-03-16T23:00:01.500Z\",\
            \"datacontenttype\":\"application/json\",\"data\":{\"Dataomraade\":\"fravaer\",\"EntitetNavn\":\"Fravaer\",\
            \"EksternIdentifier\":\"6f1c3d52-8f0a-5b7e-9a44-7c1e57b00001\",\"Personnummer\":\"0101901234\",\
            \"Forfaldsdato\":\"2032-03-17\"}}"
            .replace("\"2032\"", &format!("\"{}\"", order.id));
        assert_eq!(String::from_utf8(write_order(&order)).as_deref(), Ok(expected.as_str()));
        assert_ne!(order.id, OrderId::of("Fravaer", &external_id, due.next(), CitizenId(1)));
        assert_ne!(order.id, OrderId::of("Tilmelding", &external_id, due, CitizenId(1)));
        assert_eq!(order.id, OrderId::of("Fravaer", &external_id, due, CitizenId(1)), "the same whenever it is repeated");
    }
}
