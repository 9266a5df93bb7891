//! Message bodies as they stand on the wire and in the store, and their
//! conversion to and from what `core` works with. Pure: bytes in, values out.
//!
//! Knows JSON so that nothing else must. Does not know RabbitMQ, and never
//! puts a part of a message into a refusal: those are logged and listed.

mod content;
mod details;
mod object;
mod order;
mod parse;
mod refusal;
mod rfc3339;
mod stored;
mod wsb;

#[cfg(test)]
mod mutation_tests;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod schema_tests;

pub use order::{ORDER_KIND, write_order};
pub use parse::{MAX_BYTES, parse_event, read_identity};
pub use refusal::{Reason, Refusal};
pub use stored::{DecodeError, decode_event, encode_event};
pub use wsb::{APP_ID, CONTENT_TYPE, Wsb, WsbProperties, routing_key, write_wsb};
