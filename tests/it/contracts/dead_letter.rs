//! The places for dead letters run the suite, with the commands of the program; and what is particular to each.

use std::{
    num::NonZeroU64,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tempfile::TempDir;
use x_msrv_contract::{
    dead_letter::{ID, Letters, RefusingLetters},
    dead_letter_suite,
    memory::dead_letter::MemoryDeadLetter,
};
use x_msrv_core::{
    BoxFuture, answer,
    dead_letter::{DeadLetter, DeadLetterError, Kept, Letter, fallback::Fallback, published::Published},
    decode::Rejection,
    message::{Message, Origin},
    source::{Publisher, SourceError},
};
use x_msrv_letters::file::{self, FileDeadLetter};
use x_msrv_net::address::HostPort;
use x_msrv_nsq::source::{self as nsq, NsqPublisher, Servers};
use x_msrv_sqlite::source::{self as sqlite, SqlitePublisher};

use crate::support::{
    PATIENCE, block_on,
    nsqd::{Nsqd, unused_address},
    program::{Ended, Program},
};

/// The answer for each dead letter; `None` if there is none.
async fn verdicts(
    dead_letter: &mut dyn DeadLetter,
    letters: &[Letter],
) -> Vec<Option<Result<Kept, DeadLetterError>>> {
    let (batch, verdicts) = answer::batch(letters.iter());
    dead_letter.keep(batch).await;
    verdicts.take()
}

/// Writes dead letters; all must succeed.
async fn keep(dead_letter: &mut dyn DeadLetter, letters: &[Letter]) {
    assert_eq!(verdicts(dead_letter, letters).await, vec![Some(Ok(Kept::Durably)); letters.len()]);
}

/// Writes dead letters; all must fail.
async fn keep_none(dead_letter: &mut dyn DeadLetter) {
    let verdicts = verdicts(dead_letter, &letters()).await;
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Some(Err(_)))), "{verdicts:?}");
}

/// A queue as a destination: it connects for the first letter.
fn published<P: Publisher + 'static>(
    place: &str,
    connect: impl Fn() -> BoxFuture<'static, Result<P, SourceError>> + 'static,
    probe: impl Fn() -> BoxFuture<'static, Result<String, SourceError>> + 'static,
) -> Published {
    let boxed = move || {
        let connecting = connect();
        Box::pin(async move { Ok(Box::new(connecting.await?) as Box<dyn Publisher>) })
            as BoxFuture<'static, _>
    };
    Published::new(place.to_owned(), Box::new(boxed), Box::new(probe))
}

/// The topic `dead` at the first of these nsqd that answers.
fn topic(nsqd: Vec<HostPort>, timeout: Duration) -> Published {
    let settings = nsq::Settings {
        section: "dead-letter.nsq",
        servers: Servers::Nsqd(nsqd),
        topic: "dead".parse().expect("a topic"),
        channel: "x-msrv".parse().expect("a channel"),
        max_in_flight: NonZeroU64::new(100).expect("not zero"),
        max_message_size: 1 << 20,
        connect_timeout: timeout,
        auth_secret: None,
        tls: None,
        longest_run: Duration::from_secs(2),
    };
    let probed = settings.clone();
    published(
        "the topic dead",
        move || {
            let settings = settings.clone();
            Box::pin(async move { NsqPublisher::connect(&settings).await })
        },
        move || {
            let settings = probed.clone();
            Box::pin(async move { nsq::answers(&settings).await })
        },
    )
}

/// A kind of place that a configuration can name.
trait Kind {
    /// Starts what it needs.
    fn start() -> Self;

    /// Returns the value of `dead-letter`.
    fn section(&self) -> String;

    /// Returns the destination of a run in this folder.
    fn destination(&self, folder: &Path) -> Box<dyn DeadLetter>;

    /// Returns the same with a place that cannot be reached.
    fn unreachable(&self, folder: &Path) -> Box<dyn DeadLetter>;
}

struct InFile;

fn file_at(path: PathBuf) -> Box<dyn DeadLetter> {
    Box::new(FileDeadLetter::new(file::Settings { path, max_size: 1 << 30, max_files: None, max_age: None }))
}

impl Kind for InFile {
    fn start() -> Self {
        Self
    }

    fn section(&self) -> String {
        "{file: {path: dead.ndjson}}".to_owned()
    }

    fn destination(&self, folder: &Path) -> Box<dyn DeadLetter> {
        file_at(folder.join("dead.ndjson"))
    }

    fn unreachable(&self, folder: &Path) -> Box<dyn DeadLetter> {
        file_at(folder.join("x-msrv.yml/dead.ndjson"))
    }
}

struct InEmbeddedQueue;

fn queue_at(path: PathBuf) -> Box<dyn DeadLetter> {
    let settings = sqlite::Settings {
        path,
        max_in_flight: NonZeroU64::new(100).expect("not zero"),
        lease_timeout: Duration::from_secs(60),
    };
    let open = move || SqlitePublisher::connect(&settings);
    let probed = open.clone();
    Box::new(published(
        "the embedded queue",
        move || Box::pin(std::future::ready(open())),
        move || Box::pin(std::future::ready(probed().map(|_| "opened".to_owned()))),
    ))
}

impl Kind for InEmbeddedQueue {
    fn start() -> Self {
        Self
    }

    fn section(&self) -> String {
        "{publish: {embedded-queue: {path: dead.db}}}".to_owned()
    }

    fn destination(&self, folder: &Path) -> Box<dyn DeadLetter> {
        queue_at(folder.join("dead.db"))
    }

    fn unreachable(&self, folder: &Path) -> Box<dyn DeadLetter> {
        queue_at(folder.join("x-msrv.yml/dead.db"))
    }
}

struct InTopic(Nsqd);

impl Kind for InTopic {
    fn start() -> Self {
        Self(Nsqd::start())
    }

    fn section(&self) -> String {
        format!("{{publish: {{nsq: {{topic: dead, nsqd-tcp-address: ['{}']}}}}}}", self.0.tcp)
    }

    fn destination(&self, _: &Path) -> Box<dyn DeadLetter> {
        Box::new(topic(vec![self.0.tcp.clone()], PATIENCE))
    }

    fn unreachable(&self, _: &Path) -> Box<dyn DeadLetter> {
        Box::new(topic(vec![unused_address()], PATIENCE))
    }
}

/// Dead letters that the program's own commands list, replay to an embedded queue, and purge.
struct OfProgram<K> {
    program: Program,
    kind: K,
}

impl<K: Kind> OfProgram<K> {
    fn dead(&self, arguments: &[&str]) -> Ended {
        self.program.run(&[&["dead"], arguments].concat())
    }
}

impl<K: Kind> Letters for OfProgram<K> {
    async fn open() -> Self {
        let kind = K::start();
        let configuration = format!(
            "embedded-queue: {{path: queue.db}}\nsqlite: {{path: store.db, set: s}}\ndead-letter: {}\n",
            kind.section()
        );
        let program = Program::new(&configuration);
        assert_eq!(program.drain(&[])["received"], 0);
        Self { program, kind }
    }

    fn destination(&self) -> Box<dyn DeadLetter> {
        self.kind.destination(&self.program.path("."))
    }

    fn unreachable(&self) -> Box<dyn DeadLetter> {
        self.kind.unreachable(&self.program.path("."))
    }

    async fn list(&self) -> Vec<Letter> {
        let listed = self.dead(&["list", "--all", "--json"]);
        assert_eq!(listed.code, Some(0), "{}", listed.stderr);
        if listed.stdout.is_empty() {
            return Vec::new();
        }
        let shown = self.dead(&["show", ID]); // whole letters; all of them have this id
        assert_eq!(shown.code, Some(0), "{}", shown.stderr);
        let letters: Vec<Letter> =
            shown.stdout.lines().map(|line| serde_json::from_str(line).expect("a letter")).collect();
        assert_eq!(letters.len(), listed.stdout.lines().count());
        letters
    }

    async fn replay(&self, reason: &str) -> Vec<Bytes> {
        let replayed = self.dead(&["replay", "--reason", reason]);
        assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
        let queue = rusqlite::Connection::open(self.program.path("queue.db")).expect("the queue");
        let mut statement = queue.prepare("SELECT body FROM messages ORDER BY id").expect("the table");
        let bodies = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).expect("rows");
        let bodies = bodies.map(|body| body.expect("a row").into()).collect();
        queue.execute("DELETE FROM messages", []).expect("deleted");
        bodies
    }

    async fn purge(&self, reason: &str) {
        let purged = self.dead(&["purge", "--reason", reason]);
        assert_eq!(purged.code, Some(0), "{}", purged.stderr);
    }
}

impl RefusingLetters for OfProgram<InTopic> {
    fn too_large(&self) -> usize {
        1 << 20
    }
}

dead_letter_suite!(in_file, OfProgram<InFile>, [every]);
dead_letter_suite!(in_embedded_queue, OfProgram<InEmbeddedQueue>, [every]);
dead_letter_suite!(in_topic, OfProgram<InTopic>, [every, refusals]);

pub(crate) fn letter(body: &'static [u8]) -> Letter {
    let message = Message {
        origin: Origin::new("t@h:1"),
        id: "0a".into(),
        body: Bytes::from_static(body),
        attempts: std::num::NonZeroU32::new(2),
        last: false,
        details: None,
        published: None,
    };
    Letter::new(&message, &Rejection::ReservedField, SystemTime::UNIX_EPOCH)
}

fn letters() -> Vec<Letter> {
    vec![letter(b"{a: 1}"), letter(b""), letter(b"\xff\n\x00"), letter("ä\n\"".as_bytes())]
}

fn read(path: &std::path::Path) -> Vec<Letter> {
    let text = std::fs::read_to_string(path).expect("the file is there");
    text.lines().map(|line| serde_json::from_str(line).expect("a letter")).collect()
}

/// The dead-letter store in memory must follow the contract as well, because other suites rely on it.
#[test]
fn memory_keeps_every_dead_letter() {
    let mut memory = MemoryDeadLetter::default();
    block_on(keep(&mut memory, &letters()));
    assert_eq!(memory.letters(), letters());
    block_on(keep_none(&mut MemoryDeadLetter::broken()));
}

/// Otherwise a new run would overwrite the dead letters of earlier ones.
#[test]
fn a_file_keeps_every_dead_letter_after_the_existing_ones() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("a/b/dead.ndjson");
    block_on(
        FileDeadLetter::new(file::Settings {
            path: path.clone(),
            max_size: 1 << 20,
            max_files: None,
            max_age: None,
        })
        .probe(),
    )
    .expect("it can be created");
    assert!(!folder.path().join("a").exists(), "the probe creates nothing");
    for _ in 0..2 {
        let mut file = FileDeadLetter::new(file::Settings {
            path: path.clone(),
            max_size: 1 << 20,
            max_files: None,
            max_age: None,
        });
        block_on(keep(&mut file, &letters()));
    }
    assert_eq!(read(&path), [letters(), letters()].concat());
}

/// Messages may contain personal data.
#[test]
fn a_file_and_its_folder_are_not_readable_for_all_users() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("a/dead.ndjson");
    block_on(keep(
        &mut FileDeadLetter::new(file::Settings {
            path: path.clone(),
            max_size: 1 << 20,
            max_files: None,
            max_age: None,
        }),
        &letters(),
    ));
    let mode = |path: &std::path::Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&path) & 0o137, 0, "0640 or tighter");
    assert_eq!(mode(&folder.path().join("a")) & 0o027, 0, "0750 or tighter");
}

/// Otherwise the file would grow without limit, or lose dead letters when it is renamed.
#[test]
fn a_file_over_the_limit_is_renamed_and_keeps_its_content() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("dead.ndjson");
    let mut file = FileDeadLetter::new(file::Settings {
        path: path.clone(),
        max_size: 500,
        max_files: None,
        max_age: None,
    });
    for _ in 0..10 {
        block_on(keep(&mut file, &letters()));
    }
    let files: Vec<_> =
        std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    assert!(files.len() > 2, "{files:?}");
    assert_eq!(files.iter().flat_map(|path| read(path)).count(), 40);
}

/// Otherwise a crash during a write would make the next dead letter unreadable too.
#[test]
fn a_truncated_line_does_not_damage_the_next() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("dead.ndjson");
    std::fs::write(&path, "{\"replayed\":fal").expect("written");
    block_on(keep(
        &mut FileDeadLetter::new(file::Settings {
            path: path.clone(),
            max_size: 1 << 20,
            max_files: None,
            max_age: None,
        }),
        &letters(),
    ));
    let text = std::fs::read_to_string(&path).expect("there");
    assert_eq!(text.lines().filter(|line| serde_json::from_str::<Letter>(line).is_ok()).count(), 4);
}

/// Otherwise two runs at the same time would make each other's dead letters unreadable.
#[test]
fn concurrent_writers_of_one_file_never_mix_their_lines() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("dead.ndjson");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut file = FileDeadLetter::new(file::Settings {
                    path: path.clone(),
                    max_size: 3_000,
                    max_files: None,
                    max_age: None,
                });
                for _ in 0..25 {
                    block_on(keep(&mut file, &letters()));
                }
            });
        }
    });
    let files = std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    assert_eq!(files.map(|path| read(&path).len()).sum::<usize>(), 400);
}

/// Otherwise a user who can write to the folder could make root overwrite a file elsewhere.
#[test]
fn a_symlink_in_place_of_the_file_is_not_followed() {
    let folder = TempDir::new().expect("a folder");
    let (path, elsewhere) = (folder.path().join("dead.ndjson"), folder.path().join("elsewhere"));
    std::os::unix::fs::symlink(&elsewhere, &path).expect("a symlink");
    let mut file =
        FileDeadLetter::new(file::Settings { path, max_size: 1 << 20, max_files: None, max_age: None });
    block_on(file.probe()).expect_err("a symlink");
    block_on(keep_none(&mut file));
    assert!(!elsewhere.exists());
}

/// Otherwise messages would be acknowledged whose dead letters do not exist.
#[test]
fn a_topic_keeps_every_dead_letter_and_an_unreachable_one_is_an_error() {
    let nsqd = Nsqd::start();
    let mut topic = topic(vec![unused_address(), nsqd.tcp.clone()], PATIENCE);
    block_on(async {
        topic.probe().await.expect("one of the two answers");
        keep(&mut topic, &letters()).await;
        keep(&mut topic, &letters()).await;
    });
    // Dead letters are JSON objects, so the program can drain them into a table.
    let program = Program::new(&format!(
        "nsq: {{nsqd-tcp-address: ['{}'], topic: dead, channel: c, max-messages: 100}}\nsqlite: {{path: store.db, set: letters}}",
        nsqd.tcp
    ));
    assert_eq!(program.drain(&[])["stored"], 8);
    let bodies: Vec<_> = program
        .rows("letters")
        .into_iter()
        .filter_map(|(_, letter)| letter["body"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(bodies.iter().filter(|body| *body == "{a: 1}").count(), 2);
    let mut unreachable = self::topic(vec![unused_address()], PATIENCE);
    block_on(unreachable.probe()).expect_err("no server listens there");
    block_on(keep_none(&mut unreachable));
}

/// Each refusal ends the connection. Otherwise the program would wait for the first nsqd of the list after
/// each: 14 times for one dead letter among a hundred.
#[test]
fn a_hanging_nsqd_is_waited_for_once_however_often_the_next_refuses() {
    let hanging = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let nsqd = Nsqd::with(&["-max-msg-size=2000"]);
    let hung = hanging.local_addr().expect("an address").to_string().parse().expect("an address");
    let mut many = vec![letter(b"{a: 1}"); 100];
    many[34].detail = "x".repeat(3_000);
    let verdicts =
        block_on(verdicts(&mut topic(vec![hung, nsqd.tcp.clone()], Duration::from_millis(500)), &many));
    let kept = |verdict: &Option<Result<Kept, _>>| *verdict == Some(Ok(Kept::Durably));
    assert_eq!((verdicts.iter().filter(|verdict| kept(verdict)).count(), kept(&verdicts[34])), (99, false));
    hanging.set_nonblocking(true).expect("the option exists");
    assert_eq!(hanging.incoming().map_while(Result::ok).count(), 1);
}

/// A dead letter is larger than its message, so the largest messages make dead letters that nsqd refuses.
#[test]
fn dead_letters_that_a_topic_refuses_are_written_to_the_file_alone() {
    let nsqd = Nsqd::start();
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("dead.ndjson");
    let mut both = Fallback {
        first: Box::new(topic(vec![nsqd.tcp.clone()], PATIENCE)),
        second: Box::new(FileDeadLetter::new(file::Settings {
            path: path.clone(),
            max_size: 1 << 30,
            max_files: None,
            max_age: None,
        })),
    };
    let large = Letter { detail: "x".repeat(1 << 20), ..letter(b"large") };
    let mut many = vec![letter(b"{a: 1}"); 2_500];
    many[1_234] = large.clone();
    block_on(keep(&mut both, &many));
    assert_eq!(nsqd.depths("dead").waiting, 2_499);
    assert_eq!(read(&path), [large]);
}
