//! The service's five calls.
//!
//! `transport.rs` makes a call, `sign.rs` signs it, `task.rs` has the types of its response.

mod sign;
mod task;
mod transport;

pub(crate) use task::{
    Item, ItemsPage, ListPage, MAX_FAILURES, Progress, Task, TaskResponse, Wanted,
};
pub(crate) use transport::Response;

use crate::args::{Connection, Outcome};
use crate::error::Error;
use crate::screen::Screen;
use crate::when::{Moment, rfc3339};
use bytes::Bytes;
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use shared::task::TaskStatus;
use transport::{Call, Refusal, Transport, retry_after};

/// The service. Clones share its connections.
#[derive(Clone)]
pub(crate) struct Api {
    transport: Transport,
    /// Whether the service's own JSON is kept, for output to programs.
    keeps_json: bool,
}

impl Api {
    /// # Errors
    /// If the URL is wrong, or there are no credentials to sign with.
    pub(crate) async fn open(
        connection: &Connection,
        screen: Screen,
        keeps_json: bool,
    ) -> Result<Self, Error> {
        let transport = Transport::open(connection, screen).await?;
        Ok(Self {
            transport,
            keeps_json,
        })
    }

    /// The service's time when it first responded to this command.
    pub(crate) fn first_response(&self) -> Option<Moment> {
        self.transport.first_response()
    }

    /// Waits until this time has come by the service's clock.
    pub(crate) async fn until(&self, time: Moment) {
        self.transport.until(time).await;
    }

    /// Creates a task, or returns the existing one with this id.
    pub(crate) async fn run(&self, body: Bytes) -> Result<TaskResponse, Error> {
        let mut call = Call::new(Method::POST, "run", &[]);
        call.body = Some(body);
        self.task(self.transport.call(call).await?)
    }

    /// Reads a task; `None` if there is none with this id.
    pub(crate) async fn info(&self, id: &str) -> Result<Option<TaskResponse>, Error> {
        self.read(&[("task_id", id)]).await
    }

    /// Reads a page of a task's objects; `None` if there is no such task.
    pub(crate) async fn items(
        &self,
        id: &str,
        outcome: Outcome,
        cursor: Option<&str>,
    ) -> Result<Option<ItemsPage>, Error> {
        let mut query = vec![("task_id", id), ("outcome", outcome.as_str())];
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let response = self.read(&query).await?;
        Ok(response.map(|TaskResponse { task, .. }| ItemsPage {
            items: task.items,
            next_cursor: task.items_cursor,
            status: task.status,
            attempt: task.attempt,
        }))
    }

    async fn read(&self, query: &[(&str, &str)]) -> Result<Option<TaskResponse>, Error> {
        let call = Call::new(Method::GET, "info", query);
        match self.transport.call(call).await? {
            Err(refusal) if refusal.status == 404 => Ok(None),
            called => self.task(called).map(Some),
        }
    }

    /// Reads a page of tasks, newest first.
    pub(crate) async fn list(
        &self,
        wanted: &Wanted,
        limit: u64,
        cursor: Option<&str>,
    ) -> Result<ListPage, Error> {
        let (since, until) = (wanted.since.map(rfc3339), wanted.until.map(rfc3339));
        let limit = limit.to_string();
        let optional = [
            ("status", wanted.status.map(TaskStatus::as_str)),
            ("embedding_model_id", wanted.model.as_deref()),
            ("created_after", since.as_deref()),
            ("created_before", until.as_deref()),
            ("limit", Some(limit.as_str())),
            ("cursor", cursor),
        ];
        let query: Vec<_> = optional
            .into_iter()
            .filter_map(|(name, value)| value.map(|value| (name, value)))
            .collect();
        let call = Call::new(Method::GET, "list", &query);
        let response = self.transport.call(call).await?;
        let response = response.map_err(|refusal| refusal.error)?;
        #[derive(Deserialize)]
        struct Page {
            tasks: Vec<Box<RawValue>>,
            next_cursor: Option<String>,
        }
        let page: Page = self.transport.parse(&response)?;
        let tasks = page.tasks.iter().map(|json| {
            let task = serde_json::from_str(json.get());
            let task = task.map_err(|_| self.transport.something_else(&response))?;
            Ok((task, self.kept(json.get().as_bytes())))
        });
        Ok(ListPage {
            tasks: tasks.collect::<Result<_, Error>>()?,
            next_cursor: page.next_cursor,
        })
    }

    /// Restarts a task if it is at this attempt.
    pub(crate) async fn restart(
        &self,
        id: &str,
        attempt: u32,
        all: bool,
    ) -> Result<TaskResponse, Error> {
        let number = attempt.to_string();
        let mut query = vec![("task_id", id), ("attempt", number.as_str())];
        if all {
            query.push(("scope", "all"));
        }
        let call = Call::new(Method::PUT, "restart", &query);
        let called = self.transport.call(call).await?;
        // An earlier try may have restarted the task, and its response may have been lost.
        if let Err(refusal) = &called
            && refusal.may_have_happened
            && refusal.status == 409
            && let Some(now) = self.info(id).await?
            && Some(now.task.attempt) == attempt.checked_add(1)
        {
            return Ok(now);
        }
        self.task(called)
    }

    /// Cancels a task if it is at this attempt.
    pub(crate) async fn cancel(&self, id: &str, attempt: u32) -> Result<TaskResponse, Error> {
        let attempt = attempt.to_string();
        let query = [("task_id", id), ("attempt", attempt.as_str())];
        let call = Call::new(Method::PUT, "cancel", &query);
        self.task(self.transport.call(call).await?)
    }

    /// Forwards a call of the console, and returns the service's response.
    ///
    /// # Errors
    /// If the service does not respond, or the call cannot be signed.
    pub(crate) async fn pass_on(
        &self,
        method: Method,
        endpoint: &str,
        query: &[(&str, &str)],
    ) -> Result<Response, Error> {
        let call = Call::new(method, endpoint, query);
        self.transport.pass_on(call).await
    }

    /// The task that a response holds.
    fn task(&self, called: Result<Response, Refusal>) -> Result<TaskResponse, Error> {
        let response = called.map_err(|refusal| refusal.error)?;
        let headers = &response.headers;
        let has = |name| headers.get(name).is_some_and(|value| value == "true");
        Ok(TaskResponse {
            task: self.transport.parse(&response)?,
            json: self.kept(&response.body),
            retry_after: retry_after(headers),
            is_replayed: has("idempotent-replayed"),
            is_mismatch: has("idempotent-mismatch"),
        })
    }

    /// The service's own JSON on one line, if it is kept.
    fn kept(&self, json: &[u8]) -> String {
        if self.keeps_json {
            String::from_utf8_lossy(json).replace(['\n', '\r'], "")
        } else {
            String::new()
        }
    }
}
