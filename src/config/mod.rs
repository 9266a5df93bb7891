//! Files and environment to checked settings.
//!
//! Says what is wrong with a file, all of it at once and each thing at its line
//! and column; decides nothing, and knows neither the store nor RabbitMQ. The
//! only place that knows TOML.

mod amqp_target;
mod load;
mod maintenance;
mod mistake;
mod reader;
mod recipients;
mod retention;
mod routing;
mod secret;
mod tokens;
mod types;
mod watch;

#[cfg(test)]
mod retention_tests;
#[cfg(test)]
mod routing_tests;

pub use amqp_target::AmqpTarget;
pub use load::{LoadError, Sources, check_retention, load_retention, load_routing, load_rules};
pub use mistake::{Mistake, nearest, render};
pub use retention::parse_retention;
pub use routing::parse_routing;
pub use secret::Secret;
pub use tokens::{
    ADMIN, Role, Token, TokenHash, Tokens, TokensError, TokensWatch, check_token_name, is_like_ours, load_tokens, new_token, parse_tokens,
    token_lines,
};
pub use watch::RulesWatch;
