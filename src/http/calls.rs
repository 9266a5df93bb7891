//! The calls of the admin API: each is added with what it needs of its caller,
//! so that none can be forgotten, and all can be listed.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, delete, get, post};

use super::access::{Needs, allow};
use super::{Shared, problem};

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// GET, POST or DELETE.
    pub method: &'static str,
    /// Its path below `/api/v1`.
    pub path: &'static str,
    /// What it needs of its caller.
    pub needs: Needs,
}

/// Calls on their way to a router.
pub(super) struct Calls {
    server: Shared,
    router: Router<Shared>,
    all: Vec<Call>,
}

impl Calls {
    pub fn new(server: &Shared) -> Self {
        Self { server: Arc::clone(server), router: Router::new(), all: Vec::new() }
    }

    /// Adds a call that shows something.
    pub fn get<H: Handler<T, Shared>, T: 'static>(self, path: &'static str, needs: Needs, handler: H) -> Self {
        self.add(Call { method: "GET", path, needs }, get(handler))
    }

    /// Adds a call that does something.
    pub fn post<H: Handler<T, Shared>, T: 'static>(self, path: &'static str, needs: Needs, handler: H) -> Self {
        self.add(Call { method: "POST", path, needs }, post(handler))
    }

    /// Adds a call that ends something.
    pub fn delete<H: Handler<T, Shared>, T: 'static>(self, path: &'static str, needs: Needs, handler: H) -> Self {
        self.add(Call { method: "DELETE", path, needs }, delete(handler))
    }

    fn add(mut self, call: Call, handler: MethodRouter<Shared>) -> Self {
        let guard = from_fn_with_state((Arc::clone(&self.server), call.needs), allow);
        self.router = self.router.route(call.path, handler.route_layer(guard));
        self.all.push(call);
        self
    }

    /// Returns the router, and every call of it.
    pub fn finish(self) -> (Router<Shared>, Vec<Call>) {
        let router = self.router.fallback(problem::no_such_call).method_not_allowed_fallback(problem::wrong_method);
        (router, self.all)
    }
}
