//! The HTTP server for scrapers and orchestrators: `/metrics`, `/health`, `/ready`, and nothing else.
//!
//! It is meant for a trusted network and still bounds what a caller can take: connections, header sizes, and the time
//! of each connection. It accepts no body and changes nothing.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};

use super::metrics::Metrics;
use super::readiness::{Readiness, State};

/// Most connections at a time. A few scrapers and probes hold one each for moments.
const NUM_CONNECTIONS_MAX: usize = 32;

/// Longest time to send the head of a request. Probes are close by and send it at once.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest life of a connection. It covers a slow reader of a large scrape, and then makes room for others.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// Most headers of a request, and the most memory for reading it: scrapers send a handful. hyper wants at least 8 KiB.
const NUM_HEADERS_MAX: usize = 64;
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How long to wait before accepting again after a failure, which mostly means that file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A running server. It ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// Why the server could not start.
#[derive(Debug, Error)]
pub enum ServerError {
    #[error("failed to listen on `{address}` for telemetry: choose a free address in `telemetry.listen`")]
    Bind { address: SocketAddr, source: io::Error },
}

impl Server {
    /// Listens on `address`; port 0 takes any free port.
    ///
    /// # Errors
    /// If the address cannot be had.
    pub async fn start(
        address: SocketAddr,
        metrics: Arc<Metrics>,
        readiness: Readiness,
    ) -> Result<Server, ServerError> {
        let refused = |source| ServerError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        info!(%address, "telemetry listens");
        let task = tokio::spawn(accept(listener, router(metrics, readiness)));
        Ok(Server { address, task })
    }

    /// Where it listens in fact.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn router(metrics: Arc<Metrics>, readiness: Readiness) -> Router {
    Router::new()
        .route("/metrics", get(show_metrics).with_state(metrics))
        .route("/health", get(async || "ok\n"))
        .route("/ready", get(show_readiness).with_state(readiness))
}

async fn show_metrics(Shared(metrics): Shared<Arc<Metrics>>) -> Response {
    match metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            warn!(%error, "failed to encode metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn show_readiness(Shared(readiness): Shared<Readiness>) -> Response {
    match readiness.state() {
        State::Ready => (StatusCode::OK, "ready\n".to_string()).into_response(),
        State::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n".to_string()).into_response(),
        State::NotReady(objections) => {
            let lines: String = objections.iter().map(|(part, reason)| format!("{part}: {reason}\n")).collect();
            (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
        }
    }
}

async fn accept(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(NUM_CONNECTIONS_MAX));
    loop {
        // A place first: callers beyond the limit wait in the kernel's own bounded queue.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "failed to accept a telemetry connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connection = answer(stream, router.clone());
        tokio::spawn(async move {
            connection.await;
            drop(place);
        });
    }
}

fn answer(stream: TcpStream, router: Router) -> impl Future<Output = ()> {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(NUM_HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    async move {
        // What goes wrong here is the caller's affair: a hang-up, a malformed or an oversized request.
        match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "telemetry connection ended early"),
            Err(_) => debug!("telemetry connection took too long"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn server(readiness: &Readiness) -> Server {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        Server::start(any_port, Arc::new(Metrics::new()), readiness.clone()).await.expect("a free port")
    }

    /// Sends `request` and reads until the server closes the connection.
    async fn exchange(server: &Server, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(server.address()).await.expect("it listens");
        // A server that refuses early may close before it has read everything.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).expect("answers are UTF-8")
    }

    async fn request(server: &Server, method: &str, path: &str) -> String {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n");
        exchange(server, head.as_bytes()).await
    }

    #[tokio::test]
    async fn metrics_come_in_the_text_format() {
        let server = server(&Readiness::new()).await;
        let answer = request(&server, "GET", "/metrics").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
        assert!(answer.contains("# HELP actorline_build_info "), "{answer}");
    }

    #[tokio::test]
    async fn readiness_follows_the_parts_and_names_them() {
        let readiness = Readiness::new();
        let server = server(&readiness).await;
        assert!(request(&server, "GET", "/ready").await.starts_with("HTTP/1.1 503 "));
        readiness.started();
        assert!(request(&server, "GET", "/ready").await.starts_with("HTTP/1.1 200 "));
        readiness.not_ready("lake", "buffer is full");
        let answer = request(&server, "GET", "/ready").await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\nlake: buffer is full\n"), "{answer}");
    }

    #[tokio::test]
    async fn health_does_not_depend_on_readiness() {
        let server = server(&Readiness::new()).await;
        assert!(request(&server, "GET", "/health").await.starts_with("HTTP/1.1 200 "));
    }

    #[tokio::test]
    async fn there_is_nothing_else() {
        let server = server(&Readiness::new()).await;
        assert!(request(&server, "GET", "/").await.starts_with("HTTP/1.1 404 "));
        assert!(request(&server, "POST", "/metrics").await.starts_with("HTTP/1.1 405 "));
    }

    #[tokio::test]
    async fn an_oversized_head_is_refused_and_the_server_lives_on() {
        let server = server(&Readiness::new()).await;
        let head = format!("GET /health HTTP/1.1\r\nHost: example.com\r\nX: {}\r\n\r\n", "a".repeat(HEAD_BYTES_MAX));
        assert!(!exchange(&server, head.as_bytes()).await.contains("200 OK"));
        let many: String = (0..=NUM_HEADERS_MAX).map(|number| format!("X-{number}: 1\r\n")).collect();
        let head = format!("GET /health HTTP/1.1\r\nHost: example.com\r\n{many}\r\n");
        assert!(!exchange(&server, head.as_bytes()).await.contains("200 OK"));
        assert!(request(&server, "GET", "/health").await.starts_with("HTTP/1.1 200 "));
    }

    #[tokio::test]
    async fn a_taken_address_is_named() {
        let first = server(&Readiness::new()).await;
        let second = Server::start(first.address(), Arc::new(Metrics::new()), Readiness::new()).await;
        let error = second.expect_err("the port is taken");
        assert!(error.to_string().contains(&first.address().to_string()), "{error}");
    }
}
