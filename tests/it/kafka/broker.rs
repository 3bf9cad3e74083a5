//! Starting and stopping the broker.

use std::fs::{self, File};
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tempfile::TempDir;

use super::java;

/// A broker that takes longer than this to start on two busy cores will not start.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// A single node that is broker and controller.
pub struct Broker {
    address: String,
    num_topics: AtomicU32,
    class_path: String,
    /// Wait for the end of this process and then kill the broker, which a test binary has no other moment to do. One for
    /// each start.
    keepers: Mutex<Vec<Child>>,
    folder: TempDir,
}

/// A second address of the broker: it listens at `listen` and sends clients to `advertised`, where a proxy is.
#[derive(Clone, Copy)]
pub struct Behind {
    pub listen: u16,
    pub advertised: u16,
}

impl Broker {
    pub fn start() -> Broker {
        Broker::start_with(None)
    }

    /// Starts a broker that has a second address, for clients that are to reach it through a proxy.
    pub fn start_behind(behind: Behind) -> Broker {
        Broker::start_with(Some(behind))
    }

    fn start_with(behind: Option<Behind>) -> Broker {
        let class_path = java::class_path();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (port, controller_port) = free_ports();
        let address = format!("127.0.0.1:{port}");
        let properties = folder.path().join("server.properties");
        fs::write(&properties, server_properties(port, controller_port, behind, folder.path()))
            .expect("properties written");
        format_storage(&class_path, &properties);
        let keeper = spawn(&class_path, &properties, folder.path());
        let keepers = Mutex::new(vec![keeper]);
        let broker = Broker { address, num_topics: AtomicU32::new(0), class_path, keepers, folder };
        broker.wait_until_ready();
        broker
    }

    /// SIGKILL, and a new start over the same files.
    pub fn restart(&self) {
        let pid = fs::read_to_string(self.folder.path().join("broker.pid")).expect("the broker's pid");
        let killed = Command::new("kill").arg("-9").arg(pid.trim()).status().expect("kill runs");
        assert!(killed.success());
        let properties = self.folder.path().join("server.properties");
        let keeper = spawn(&self.class_path, &properties, self.folder.path());
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner).push(keeper);
        self.wait_until_ready();
    }

    /// Runs one of Kafka's own tools, such as `kafka-consumer-groups.sh`, and gives what it printed.
    pub fn tool(&self, line: &str) -> String {
        let mut words = line.split_whitespace();
        let class = match words.next() {
            Some("kafka-consumer-groups.sh") => "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
            other => panic!("no tool of Kafka: {other:?}"),
        };
        let output = Command::new("java")
            .args(["-XX:TieredStopAtLevel=1", "-cp", &self.class_path, class])
            .args(words)
            .output()
            .expect("java was found before");
        let printed = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&printed).into_owned()
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where the broker keeps its files.
    pub fn folder(&self) -> std::path::PathBuf {
        self.folder.path().join("logs")
    }

    /// A name that no other test uses.
    pub fn unique(&self, name: &str) -> String {
        format!("{name}-{}", self.num_topics.fetch_add(1, Ordering::Relaxed))
    }

    fn wait_until_ready(&self) {
        let begun = Instant::now();
        while TcpStream::connect(&self.address).is_err() {
            let log = fs::read_to_string(self.folder.path().join("broker.log")).unwrap_or_default();
            assert!(begun.elapsed() < START_TIMEOUT, "the broker did not start:\n{log}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Starts the broker below a shell that reads from a pipe of ours. The pipe closes when this process ends, even if it
/// is killed, and then the shell kills the broker.
fn spawn(class_path: &str, properties: &Path, folder: &Path) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("broker.log")).expect("a log file");
    Command::new("sh")
        .arg("-c")
        .arg(r#"java -Xmx768m -XX:TieredStopAtLevel=1 -cp "$0" kafka.Kafka "$1" </dev/null & broker=$!; echo $broker >"$2/broker.pid"; cat >/dev/null; kill -9 $broker; rm -rf "$2""#)
        .arg(class_path)
        .arg(properties)
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(log.try_clone().expect("a log file"))
        .stderr(log)
        .spawn()
        .expect("a shell")
}

fn format_storage(class_path: &str, properties: &Path) {
    let mut id = [0; 16];
    File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut id)).expect("random bytes");
    // Kafka takes no id that looks like an option.
    id[0] &= 0x3f;
    let output = Command::new("java")
        .args(["-XX:TieredStopAtLevel=1", "-cp", class_path, "kafka.tools.StorageTool", "format", "--cluster-id"])
        .arg(URL_SAFE_NO_PAD.encode(id))
        .arg("--config")
        .arg(properties)
        .output()
        .expect("java was found just before");
    assert!(output.status.success(), "formatting failed:\n{}", String::from_utf8_lossy(&output.stderr));
}

fn server_properties(port: u16, controller_port: u16, behind: Option<Behind>, folder: &Path) -> String {
    let (mut listens, mut advertises, mut protocols) = (String::new(), String::new(), String::new());
    if let Some(Behind { listen, advertised }) = behind {
        listens = format!(",PROXIED://127.0.0.1:{listen}");
        advertises = format!(",PROXIED://127.0.0.1:{advertised}");
        protocols = ",PROXIED:PLAINTEXT".to_string();
    }
    let logs = folder.join("logs");
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}{listens}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{advertises}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT{protocols}
log.dirs={}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
auto.create.topics.enable=false
# So that a test need not wait where production would rather not hurry.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
log.segment.bytes=10485760
",
        logs.display()
    )
}

fn free_ports() -> (u16, u16) {
    // Both are held until both are known, so that they differ.
    let listeners = [TcpListener::bind("127.0.0.1:0"), TcpListener::bind("127.0.0.1:0")]
        .map(|listener| listener.and_then(|listener| listener.local_addr()).expect("a free port").port());
    (listeners[0], listeners[1])
}
