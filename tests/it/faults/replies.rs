//! Replies of the broker that are lost or late, at each request that ends a transaction, and crashes between a request
//! and its reply.

use std::time::{Duration, Instant};

use super::checker::Evidence;
use super::feed::Feed;
use super::kafka_proxy::{Fault, Kind};
use super::{cluster, selection};
use crate::run::instance::{Scene, eventually};
use crate::run::kills::seed;

const PATIENCE: Duration = Duration::from_secs(90);

/// Longer than a transaction may take, so that its sender has given it up.
const LATE: Duration = Duration::from_secs(14);

#[test]
fn lost_and_late_replies_lose_nothing_and_double_nothing() {
    let (cluster, _turn) = cluster();
    let mut scene = Scene::new(&cluster.broker, 2);
    scene.brokers = Some(cluster.proxy.address());
    scene.lake_settings = "commit_interval_ms: 300".to_string();
    let mut feed = Feed::of(&scene.input, seed());
    let instance = scene.start("one", Some("one"));
    eventually("it is ready", PATIENCE, || instance.get("/ready").0 == 200);
    let faults = vec![
        (Kind::EndTxn, Fault::CutReply, 1),
        (Kind::TxnOffsetCommit, Fault::CutReply, 1),
        (Kind::AddOffsetsToTxn, Fault::CutReply, 1),
        (Kind::Produce, Fault::CutReply, 1),
        (Kind::EndTxn, Fault::DelayReply(Duration::from_secs(4)), 1),
        (Kind::TxnOffsetCommit, Fault::DelayReply(Duration::from_secs(4)), 1),
        // The client asks again by itself, and hears then that it is committed.
        (Kind::EndTxn, Fault::LoseReply, 1),
        // Whatever it asks: it is committed, and nobody hears of it.
        (Kind::EndTxn, Fault::LoseReply, 4),
        (Kind::TxnOffsetCommit, Fault::LoseReply, 4),
        // The transaction that comes after is under way when the end of the one before arrives.
        (Kind::EndTxn, Fault::DelayRequest(LATE), 1),
        (Kind::EndTxn, Fault::DelayRequest(LATE), 4),
    ];
    for (kind, fault, times) in selection(faults, 4) {
        let begun = Instant::now();
        cluster.proxy.forget_rules();
        cluster.proxy.order(kind, fault, times);
        eventually("the fault was done", PATIENCE, || {
            feed.burst();
            std::thread::sleep(Duration::from_millis(200));
            cluster.proxy.num_done() > 0
        });
        // More comes while the outcome is unclear, and while what is late arrives.
        let is_late = matches!(fault, Fault::DelayRequest(_));
        let goes_on = if is_late { LATE + Duration::from_secs(3) } else { Duration::from_secs(2) };
        let fed = Instant::now();
        while fed.elapsed() < goes_on {
            feed.burst();
            std::thread::sleep(Duration::from_millis(50));
        }
        Evidence::assert_at_rest(&scene, &scene.lake_path(), PATIENCE);
        // Without another record: nothing that failed is left, so nothing objects.
        eventually("it is ready again", PATIENCE, || instance.get("/ready").0 == 200);
        println!("{kind:?}, {fault:?} {times} times: at rest after {:.1} s", begun.elapsed().as_secs_f32());
        if kind == Kind::EndTxn && matches!(fault, Fault::LoseReply) && times > 1 {
            let log = instance.log();
            assert!(log.contains("the outcome of a transaction was unclear"), "it was meant to be unclear:\n{log}");
        }
    }
    assert!(instance.terminate().success());
    Evidence::assert_at_rest(&scene, &scene.lake_path(), Duration::ZERO);
}

#[test]
fn an_instance_killed_between_a_request_and_its_reply_loses_nothing_and_doubles_nothing() {
    let (cluster, _turn) = cluster();
    let mut scene = Scene::new(&cluster.broker, 2);
    scene.brokers = Some(cluster.proxy.address());
    scene.lake_settings = "commit_interval_ms: 300".to_string();
    let mut feed = Feed::of(&scene.input, seed());
    let faults: [fn(u32) -> Fault; 2] = [Fault::KillBefore, Fault::KillAfter];
    for kind in [Kind::InitProducerId, Kind::Produce, Kind::AddOffsetsToTxn, Kind::TxnOffsetCommit, Kind::EndTxn] {
        for fault in faults {
            let instance = scene.start("one", Some("one"));
            cluster.proxy.order(kind, fault(instance.id()), 1);
            let num_done = cluster.proxy.num_done();
            let begun = Instant::now();
            while cluster.proxy.num_done() == num_done {
                assert!(begun.elapsed() < PATIENCE, "no {kind:?} was sent:\n{}", instance.log());
                feed.burst();
                std::thread::sleep(Duration::from_millis(100));
            }
            let (status, log) = instance.wait();
            assert!(std::os::unix::process::ExitStatusExt::signal(&status) == Some(9), "{kind:?}: {status}\n{log}");
            Evidence::assert_so_far(&scene, &scene.lake_path());
        }
    }
    let instance = scene.start("one", Some("one"));
    Evidence::assert_at_rest(&scene, &scene.lake_path(), PATIENCE);
    assert!(instance.terminate().success());
}
