//! A proxy before the S3 server that fails requests as stores do: before they were carried out, after, and halfway.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const HEAD_BYTES_MAX: usize = 64 * 1024;

#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Answers with this status and does nothing.
    Refuse(u16),
    /// Does what is asked and answers with this status.
    ApplyAndFail(u16),
    /// Does what is asked and ends the connection without an answer.
    ApplyAndCut,
    /// Ends the connection after half of the answer's body.
    Truncate,
    /// Kills the sender before anything is done.
    KillBefore(u32),
    /// Kills the sender once it is done.
    KillAfter(u32),
}

struct Rule {
    method: &'static str,
    part: &'static str,
    fault: Fault,
    num_left: usize,
}

#[derive(Default)]
struct Rules {
    rules: Vec<Rule>,
    /// One of so many requests is refused with 503.
    slow_down: Option<usize>,
    num_seen: usize,
    num_done: usize,
}

pub struct StoreProxy {
    pub port: u16,
    rules: Arc<Mutex<Rules>>,
}

impl StoreProxy {
    pub fn start(upstream: u16) -> StoreProxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let rules = Arc::new(Mutex::new(Rules::default()));
        let of_proxy = Arc::clone(&rules);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let rules = Arc::clone(&of_proxy);
                std::thread::spawn(move || serve(client, upstream, &rules));
            }
        });
        StoreProxy { port, rules }
    }

    /// Does `fault` to the next `times` requests with `method` whose path and query hold `part`.
    pub fn order(&self, method: &'static str, part: &'static str, fault: Fault, times: usize) {
        lock(&self.rules).rules.push(Rule { method, part, fault, num_left: times });
    }

    /// Refuses one of `of` requests; none without.
    pub fn slow_down(&self, of: Option<usize>) {
        lock(&self.rules).slow_down = of;
    }

    /// How many requests were failed so far.
    pub fn num_done(&self) -> usize {
        lock(&self.rules).num_done
    }
}

fn lock(rules: &Mutex<Rules>) -> MutexGuard<'_, Rules> {
    rules.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take(rules: &Mutex<Rules>, request: &Request) -> Option<Fault> {
    let mut rules = lock(rules);
    rules.num_seen += 1;
    let matching =
        |rule: &&mut Rule| rule.num_left > 0 && rule.method == request.method && request.target.contains(rule.part);
    let fault = rules.rules.iter_mut().find(matching).map(|rule| {
        rule.num_left -= 1;
        rule.fault
    });
    let is_slowed = rules.slow_down.is_some_and(|of| rules.num_seen.is_multiple_of(of));
    let fault = fault.or(is_slowed.then_some(Fault::Refuse(503)));
    rules.num_done += usize::from(fault.is_some());
    fault
}

struct Request {
    method: String,
    target: String,
    bytes: Vec<u8>,
}

fn serve(mut client: TcpStream, upstream: u16, rules: &Mutex<Rules>) {
    let Ok(mut store) = TcpStream::connect(("127.0.0.1", upstream)) else { return };
    while let Some(request) = read_request(&mut client) {
        let fault = take(rules, &request);
        match fault {
            Some(Fault::KillBefore(pid)) => {
                kill(pid);
                break;
            }
            Some(Fault::Refuse(status)) => {
                if client.write_all(&answer(status)).is_err() {
                    break;
                }
                continue;
            }
            _ => {}
        }
        if store.write_all(&request.bytes).is_err() {
            break;
        }
        let Some((head, body)) = read_answer(&mut store, request.method == "HEAD") else { break };
        let sent = match fault {
            Some(Fault::ApplyAndFail(status)) => client.write_all(&answer(status)),
            Some(Fault::KillAfter(pid)) => {
                kill(pid);
                break;
            }
            Some(Fault::ApplyAndCut) => break,
            Some(Fault::Truncate) => {
                let _ = client.write_all(&[&head[..], &body[..body.len() / 2]].concat());
                break;
            }
            _ => client.write_all(&[head, body].concat()),
        };
        if sent.is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
}

fn answer(status: u16) -> Vec<u8> {
    let (reason, code) = match status {
        409 => ("Conflict", "ConditionalRequestConflict"),
        412 => ("Precondition Failed", "PreconditionFailed"),
        503 => ("Slow Down", "SlowDown"),
        _ => ("Internal Server Error", "InternalError"),
    };
    let body =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>a fault of the test</Message></Error>");
    let length = body.len();
    format!("HTTP/1.1 {status} {reason}\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\n\r\n{body}")
        .into()
}

fn read_request(client: &mut TcpStream) -> Option<Request> {
    let head = read_head(client)?;
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut words = text.split(' ');
    let (method, target) = (words.next()?.to_string(), words.next()?.to_string());
    let body = read_body(client, &text)?;
    Some(Request { method, target, bytes: [head, body].concat() })
}

fn read_answer(store: &mut TcpStream, is_bodiless: bool) -> Option<(Vec<u8>, Vec<u8>)> {
    let head = read_head(store)?;
    let text = String::from_utf8_lossy(&head).into_owned();
    let body = if is_bodiless { Vec::new() } else { read_body(store, &text)? };
    Some((head, body))
}

fn read_head(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
        assert!(head.len() < HEAD_BYTES_MAX, "a head without end");
    }
    Some(head)
}

fn read_body(stream: &mut TcpStream, head: &str) -> Option<Vec<u8>> {
    let value = |name: &str| {
        head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_ascii_lowercase())
        })
    };
    let mut body = Vec::new();
    if value("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        let mut byte = [0];
        while !body.ends_with(b"0\r\n\r\n") {
            stream.read_exact(&mut byte).ok()?;
            body.push(byte[0]);
        }
        return Some(body);
    }
    body.resize(value("content-length").and_then(|length| length.parse().ok()).unwrap_or(0), 0);
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

fn kill(pid: u32) {
    let status = Command::new("kill").arg("-9").arg(pid.to_string()).status().expect("kill runs");
    assert!(status.success());
}
