//! A proxy before the broker that knows requests by their kind: it loses or holds back what it is told to.
//!
//! It reads no more of the protocol than the frame, the kind of request and the number that ties a reply to it.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Largest frame that is believed. Kafka's own limit for a request.
const FRAME_BYTES_MAX: usize = 104_857_600;

/// Kinds of requests, as the protocol numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Produce = 0,
    InitProducerId = 22,
    AddOffsetsToTxn = 25,
    EndTxn = 26,
    TxnOffsetCommit = 28,
}

#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The request arrives, and nobody hears of it: the connection ends instead.
    CutReply,
    /// The request arrives, and its reply never comes; the connection stays.
    LoseReply,
    DelayReply(Duration),
    /// The request arrives that much later, even if its sender has gone by then.
    DelayRequest(Duration),
    /// The sender is killed while the request is on its way to the broker.
    KillBefore(u32),
    /// The sender is killed once the broker has answered, before it hears of it.
    KillAfter(u32),
}

struct Rule {
    kind: Kind,
    fault: Fault,
    num_left: usize,
}

#[derive(Default)]
struct Rules {
    rules: Vec<Rule>,
    num_done: usize,
}

pub struct KafkaProxy {
    port: u16,
    rules: Arc<Mutex<Rules>>,
}

impl KafkaProxy {
    /// A proxy that listens, with the port at which the broker is to listen for it and its own.
    pub fn bind() -> (u16, u16, KafkaProxy) {
        let upstream = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let rules = Arc::new(Mutex::new(Rules::default()));
        let proxy = KafkaProxy { port, rules: Arc::clone(&rules) };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if let Ok(broker) = TcpStream::connect(("127.0.0.1", upstream)) {
                    connect(client, broker, &rules);
                }
            }
        });
        (upstream, port, proxy)
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Does `fault` to the next `times` requests of `kind`.
    pub fn order(&self, kind: Kind, fault: Fault, times: usize) {
        lock(&self.rules).rules.push(Rule { kind, fault, num_left: times });
    }

    pub fn forget_rules(&self) {
        *lock(&self.rules) = Rules::default();
    }

    /// How many faults were done since the rules were forgotten last.
    pub fn num_done(&self) -> usize {
        lock(&self.rules).num_done
    }
}

fn lock(rules: &Mutex<Rules>) -> std::sync::MutexGuard<'_, Rules> {
    rules.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take(rules: &Mutex<Rules>, kind: i16) -> Option<Fault> {
    let mut rules = lock(rules);
    let rule = rules.rules.iter_mut().find(|rule| rule.kind as i16 == kind && rule.num_left > 0)?;
    rule.num_left -= 1;
    let fault = rule.fault;
    rules.num_done += 1;
    Some(fault)
}

type Waiting = Arc<Mutex<HashMap<[u8; 4], Fault>>>;

fn connect(client: TcpStream, broker: TcpStream, rules: &Arc<Mutex<Rules>>) {
    let waiting: Waiting = Arc::default();
    let clone = |stream: &TcpStream| stream.try_clone().expect("a second handle");
    let (from_client, to_client, from_broker) = (clone(&client), client, clone(&broker));
    let to_broker = Arc::new(Mutex::new(broker));
    let (rules, faults) = (Arc::clone(rules), Arc::clone(&waiting));
    std::thread::spawn(move || pass_requests(from_client, &to_broker, &rules, &faults));
    std::thread::spawn(move || pass_replies(from_broker, to_client, &waiting));
}

fn pass_requests(mut client: TcpStream, broker: &Arc<Mutex<TcpStream>>, rules: &Mutex<Rules>, waiting: &Waiting) {
    let mut delayed = Vec::new();
    while let Some(frame) = read_frame(&mut client) {
        // Length, kind, version of the kind, number of the request.
        let kind = i16::from_be_bytes([frame[4], frame[5]]);
        let number = [frame[8], frame[9], frame[10], frame[11]];
        match take(rules, kind) {
            Some(Fault::KillBefore(pid)) => {
                kill(pid);
                break;
            }
            Some(Fault::DelayRequest(delay)) => {
                let broker = Arc::clone(broker);
                delayed.push(std::thread::spawn(move || {
                    std::thread::sleep(delay);
                    let _ = broker.lock().unwrap_or_else(PoisonError::into_inner).write_all(&frame);
                    // The broker takes nothing from a connection that was closed at once.
                    std::thread::sleep(Duration::from_millis(500));
                }));
                continue;
            }
            Some(fault) => {
                waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(number, fault);
            }
            None => {}
        }
        if broker.lock().unwrap_or_else(PoisonError::into_inner).write_all(&frame).is_err() {
            break;
        }
    }
    for request in delayed {
        let _ = request.join();
    }
    let _ = broker.lock().unwrap_or_else(PoisonError::into_inner).shutdown(Shutdown::Both);
}

fn pass_replies(mut broker: TcpStream, mut client: TcpStream, waiting: &Waiting) {
    while let Some(frame) = read_frame(&mut broker) {
        let number = [frame[4], frame[5], frame[6], frame[7]];
        let fault = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        match fault {
            Some(Fault::LoseReply) => continue,
            Some(Fault::CutReply) => break,
            Some(Fault::DelayReply(delay)) => std::thread::sleep(delay),
            Some(Fault::KillAfter(pid)) => {
                kill(pid);
                break;
            }
            _ => {}
        }
        // Whoever sent a request that is late may have gone; the broker is still to have it.
        if client.write_all(&frame).is_err() {
            continue;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
}

fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut frame = vec![0; 4];
    stream.read_exact(&mut frame).ok()?;
    let len = usize::try_from(i32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]])).ok()?;
    assert!(len <= FRAME_BYTES_MAX, "not Kafka's protocol");
    frame.resize(4 + len, 0);
    stream.read_exact(&mut frame[4..]).ok()?;
    Some(frame)
}

fn kill(pid: u32) {
    let status = Command::new("kill").arg("-9").arg(pid.to_string()).status().expect("kill runs");
    assert!(status.success());
}
