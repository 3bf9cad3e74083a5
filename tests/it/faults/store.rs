//! The lake on a real S3 server behind a proxy that fails: writes that were carried out and are said not to be, refusals,
//! conflicts, answers that break off, and crashes in the middle of each.

use std::time::{Duration, Instant};

use super::checker::Evidence;
use super::feed::Feed;
use super::store_proxy::{Fault, StoreProxy};
use super::{cluster, selection};
use crate::lake_s3::{BUCKET, Gateway};
use crate::run::instance::{Instance, Scene, eventually};
use crate::run::kills::seed;

const PATIENCE: Duration = Duration::from_secs(120);

pub fn place(scene: &mut Scene<'_>, proxy: &StoreProxy, interval_ms: u32) {
    scene.lake_url = Some(format!("s3://{BUCKET}/lake"));
    scene.lake_settings = format!(
        "commit_interval_ms: {interval_ms}, options: {{ aws_endpoint: 'http://127.0.0.1:{}', aws_allow_http: 'true', \
         aws_access_key_id: example, aws_secret_access_key: '${{env:EXAMPLE_SECRET}}', aws_region: us-east-1 }}",
        proxy.port
    );
    scene.environment.push(("EXAMPLE_SECRET".to_string(), "example-secret".to_string()));
}

#[test]
fn a_store_that_fails_in_every_way_loses_nothing_and_doubles_nothing() {
    let Some(gateway) = Gateway::start() else { return };
    let (cluster, _turn) = cluster();
    let proxy = StoreProxy::start(gateway.port);
    let lake = gateway.folder().join(BUCKET).join("lake");
    let mut scene = Scene::new(&cluster.broker, 2);
    place(&mut scene, &proxy, 300);
    let mut feed = Feed::of(&scene.input, seed());
    feed.burst();
    let instance = scene.start("one", Some("one"));
    Evidence::assert_at_rest(&scene, &lake, PATIENCE);
    let faults = vec![
        ("PUT", "_delta_log", Fault::ApplyAndFail(500)),
        ("PUT", "_delta_log", Fault::ApplyAndCut),
        ("PUT", "_delta_log", Fault::Refuse(409)),
        // Somebody has the version, it says; the log shows that nobody does.
        ("PUT", "_delta_log", Fault::Refuse(412)),
        ("PUT", "_delta_log", Fault::Refuse(503)),
        ("PUT", ".parquet", Fault::ApplyAndFail(500)),
        ("PUT", ".parquet", Fault::Refuse(503)),
        ("PUT", ".parquet", Fault::ApplyAndCut),
        ("GET", "_delta_log", Fault::Refuse(503)),
        ("GET", "_delta_log", Fault::Truncate),
    ];
    for (method, part, fault) in selection(faults, 4) {
        let begun = Instant::now();
        let num_done = proxy.num_done();
        // Once, and so often that the store's own client gives up.
        proxy.order(method, part, fault, if matches!(fault, Fault::Refuse(_)) { 7 } else { 1 });
        eventually("the fault was done", PATIENCE, || {
            feed.burst();
            std::thread::sleep(Duration::from_millis(300));
            proxy.num_done() > num_done
        });
        Evidence::assert_at_rest(&scene, &lake, PATIENCE);
        println!("{method} {part}, {fault:?}: at rest after {:.1} s", begun.elapsed().as_secs_f32());
    }
    proxy.slow_down(Some(5));
    for _ in 0..30 {
        feed.burst();
        std::thread::sleep(Duration::from_millis(100));
    }
    Evidence::assert_at_rest(&scene, &lake, PATIENCE);
    proxy.slow_down(None);
    assert!(instance.terminate().success());

    // What is read at the start breaks off. Such a start may end, as trouble outside does, and whoever manages the
    // process starts it again; it must not go on with half of what is there.
    for part in ["_delta_log/", "list-type=2"] {
        let num_done = proxy.num_done();
        proxy.order("GET", part, Fault::Truncate, 3);
        feed.burst();
        let instance = start_until_ready(&scene);
        Evidence::assert_at_rest(&scene, &lake, PATIENCE);
        assert!(proxy.num_done() > num_done, "nothing of `{part}` was truncated");
        assert!(instance.terminate().success());
    }
}

/// Starts an instance again and again, as long as it ends with the exit code of trouble outside.
fn start_until_ready(scene: &Scene<'_>) -> Instance {
    let begun = Instant::now();
    let mut instance = scene.start("one", Some("one"));
    while instance.get("/ready").0 != 200 {
        assert!(begun.elapsed() < PATIENCE, "it does not start:\n{}", instance.log());
        if instance.has_ended() {
            let (status, log) = instance.wait();
            assert_eq!(status.code(), Some(4), "{log}");
            instance = scene.start("one", Some("one"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    instance
}

#[test]
fn an_instance_killed_in_the_middle_of_a_write_to_the_store_loses_nothing_and_doubles_nothing() {
    // What stands beside the table is written once in the lake's life.
    kill_at(&[("PUT", "generations/"), ("PUT", ".parquet"), ("PUT", "_delta_log/")], 300);
    kill_at(&[("PUT", "topics/")], 300);
    // The second part of a large file, and the end of its upload.
    kill_at(&[("PUT", "partNumber=2"), ("POST", "uploadId")], 3_000);
}

/// Kills an instance at each of `requests`, before it reaches the store and after it was carried out.
fn kill_at(requests: &[(&'static str, &'static str)], interval_ms: u32) {
    let Some(gateway) = Gateway::start() else { return };
    let (cluster, _turn) = cluster();
    let proxy = StoreProxy::start(gateway.port);
    let lake = gateway.folder().join(BUCKET).join("lake");
    let mut scene = Scene::new(&cluster.broker, 2);
    place(&mut scene, &proxy, interval_ms);
    let mut feed = Feed::of(&scene.input, seed());
    let faults: Vec<fn(u32) -> Fault> = vec![Fault::KillBefore, Fault::KillAfter];
    for (method, part) in requests {
        for fault in selection(faults.clone(), 1) {
            let mut instance = scene.start("one", Some("one"));
            let num_done = proxy.num_done();
            proxy.order(method, part, fault(instance.id()), 1);
            let begun = Instant::now();
            while proxy.num_done() == num_done {
                assert!(
                    !instance.has_ended() && begun.elapsed() < PATIENCE,
                    "no {method} {part} was sent:\n{}",
                    instance.log()
                );
                if interval_ms > 300 {
                    feed.large();
                }
                feed.burst();
                std::thread::sleep(Duration::from_millis(300));
            }
            let (status, log) = instance.wait();
            assert!(std::os::unix::process::ExitStatusExt::signal(&status) == Some(9), "{part}: {status}\n{log}");
            Evidence::assert_so_far(&scene, &lake);
        }
    }
    let instance = scene.start("one", Some("one"));
    Evidence::assert_at_rest(&scene, &lake, PATIENCE);
    assert!(instance.terminate().success());
}
