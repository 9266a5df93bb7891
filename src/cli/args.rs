//! What can be said on the command line and in the environment.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Delivers DFDG's webservicebeskeder (WSB) to the a-kasse or kommune that is
/// entitled to them at the moment of sending.
#[derive(Debug, Parser)]
#[command(
    name = "wsb-broker",
    version,
    after_help = "Exit codes: 0 ok, 1 the answer is no, 2 usage, 3 cannot reach the broker or RabbitMQ, 4 refused."
)]
pub struct Arguments {
    /// What every command understands.
    #[command(flatten)]
    pub common: Common,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command understands.
#[derive(Debug, Args)]
pub struct Common {
    /// Where RabbitMQ is; better given in the environment, since it holds a password.
    #[arg(
        long,
        global = true,
        env = "WSB_AMQP_URI",
        default_value = "amqp://guest:guest@127.0.0.1:5672/%2f",
        hide_env_values = true,
        hide_default_value = true
    )]
    pub amqp_uri: String,
    /// The certificates of the authorities that RabbitMQ's must come from (PEM); default: the system's.
    #[arg(long, global = true, env = "WSB_AMQP_CA", value_name = "FILE")]
    pub amqp_ca: Option<PathBuf>,
    /// The broker's certificate for RabbitMQ (PEM, with intermediates).
    #[arg(long, global = true, env = "WSB_AMQP_CERT", value_name = "FILE")]
    pub amqp_cert: Option<PathBuf>,
    /// The private key of that certificate (PEM).
    #[arg(long, global = true, env = "WSB_AMQP_KEY", value_name = "FILE")]
    pub amqp_key: Option<PathBuf>,
    /// Where the broker keeps its state.
    #[arg(long, global = true, env = "WSB_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,
    /// Who receives what.
    #[arg(long, global = true, env = "WSB_ROUTING", default_value = "./routing.toml")]
    pub routing: PathBuf,
    /// The deletion rules; default: retention.toml beside routing.toml, else the built-in ones.
    #[arg(long, global = true, env = "WSB_RETENTION")]
    pub retention: Option<PathBuf>,
    /// Where the broker serves health, metrics and the admin API.
    #[arg(long, global = true, env = "WSB_HTTP", default_value = "127.0.0.1:9464")]
    pub http: SocketAddr,
    /// The certificate that HTTP is served with (PEM, with intermediates); without one it is plain HTTP.
    #[arg(long, global = true, env = "WSB_HTTP_CERT", value_name = "FILE")]
    pub http_cert: Option<PathBuf>,
    /// The private key of that certificate (PEM).
    #[arg(long, global = true, env = "WSB_HTTP_KEY", value_name = "FILE")]
    pub http_key: Option<PathBuf>,
    /// The certificate of the authority that commands accept the broker's certificate from (PEM);
    /// default: well-known ones.
    #[arg(long, global = true, env = "WSB_HTTP_CA", value_name = "FILE")]
    pub http_ca: Option<PathBuf>,
    /// The master key; default: the data directory's name with `.key` after it.
    #[arg(long, global = true, env = "WSB_KEY_FILE")]
    pub key_file: Option<PathBuf>,
    /// The list of erased citizens, which holds no numbers; default: the data
    /// directory's name with `.erased` after it.
    #[arg(long, global = true, env = "WSB_ERASED_LIST")]
    pub erased_list: Option<PathBuf>,
    /// How much is logged: error, warn, info, debug, trace or off.
    #[arg(long, global = true, env = "WSB_LOG", default_value = "info")]
    pub log: String,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the broker until SIGTERM or SIGINT.
    Run(RunArguments),
    /// Checks routing.toml and retention.toml; names every mistake with its line and column.
    Check,
    /// Says for an event who would be told and why, and who not and why; sends nothing.
    Explain(ExplainArguments),
    /// Shows the exchanges, queues and bindings that routing.toml asks for, or declares them.
    Topology(TopologyArguments),
    /// Publishes domain events, as DFDG does.
    Events(EventsArguments),
    /// Loads in bulk what decides who receives (memberships and the like), as a first load; tells nobody.
    Import(ImportArguments),
    /// Lists and handles messages that could not be events.
    Quarantine(QuarantineArguments),
    /// Lists, shows and discards deliveries of the running broker.
    Deliveries(DeliveriesArguments),
    /// Sends deliveries again that are dead, or that a vendor has lost, each decided anew.
    Replays(ReplaysArguments),
    /// Shows what falls due for deletion, and what is blocked by what.
    Retention(RetentionArguments),
    /// Shows the recipients' queues; pauses and resumes them.
    Recipients(RecipientsArguments),
    /// Shows lanes that are stuck; parks and releases them.
    Lanes(LanesArguments),
    /// Shows everything that happened with an event or a delivery, and why.
    Trace(TraceArguments),
    /// Forgets a citizen, whose personnummer comes by standard input.
    Erase(EraseArguments),
    /// Copies the store while the broker runs, or without it.
    Backup(BackupArguments),
    /// Makes a store of a backup, in an empty data directory.
    Restore(RestoreArguments),
    /// Checks every row of the store, without a running broker.
    Verify,
    /// Shows, exports and checks the log of what operators have done.
    Audit(AuditArguments),
    /// Makes tokens of the admin API, and checks the file that names them.
    Token(TokenArguments),
    /// Asks a running broker whether it is alive: exit code 0, or 3 when nobody answers.
    Health(HealthArguments),
    /// Creates the master key file.
    InitKey,
    /// Exchanges the master key: first lets a new one open the store too, then only that one.
    RotateKey(RotateKeyArguments),
}

/// `rotate-key`
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct RotateKeyArguments {
    /// From now on this key opens the store as well; created if it is not there.
    #[arg(long, value_name = "FILE")]
    pub new_key_file: Option<PathBuf>,
    /// From now on only the key of --key-file opens the store, which must be the new one.
    #[arg(long)]
    pub finish: bool,
    /// Undoes the exchange: from now on only the key of --key-file, which must be the former one, opens the store, and the new one does not.
    #[arg(long)]
    pub undo: bool,
}

/// `health`
#[derive(Debug, Args)]
pub struct HealthArguments {
    /// Ask whether it works: exit code 1 when something is missing, which is printed.
    #[arg(long)]
    pub ready: bool,
}

/// `run`
#[derive(Debug, Args)]
pub struct RunArguments {
    /// How much memory the store may use as a cache, in MiB.
    #[arg(long, env = "WSB_STORE_CACHE_MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub store_cache_mib: u64,
    /// For how many days a repeated event has no effect.
    #[arg(long, env = "WSB_KEEP_DUPLICATES_DAYS", default_value_t = 14, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub keep_duplicates_days: u32,
    /// For how many days everything that happened with an event can be told; the
    /// journal is kept for the longer of the two.
    #[arg(long, env = "WSB_KEEP_TRACES_DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub keep_traces_days: u32,
    /// For how many days what was delivered can be sent again; no longer than the
    /// journal is kept.
    #[arg(long, env = "WSB_REPLAY_DAYS", default_value_t = 14, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub replay_days: u32,
    /// The file of named tokens of the admin API, beside the one of WSB_ADMIN_TOKEN.
    #[arg(long, env = "WSB_TOKENS", value_name = "FILE")]
    pub tokens: Option<PathBuf>,
    /// Intake stops while fewer MiB are free on the disk of the store; 0: never.
    #[arg(long, env = "WSB_MIN_FREE_MIB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(0..=1_048_576))]
    pub min_free_mib: u64,
    /// Whether a second person has to confirm the erasure of a citizen.
    #[arg(long, env = "WSB_ERASE_TWO_PERSONS")]
    pub erase_two_persons: bool,
    /// How long finishing what is under way may take at a shutdown, in seconds.
    #[arg(long, env = "WSB_SHUTDOWN_SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub shutdown_seconds: u64,
}

/// `erase`
#[derive(Debug, Args)]
pub struct EraseArguments {
    /// Only say how much would go.
    #[arg(long)]
    pub dry_run: bool,
    /// Confirm the request of somebody else, by its number.
    #[arg(long, value_name = "ID", conflicts_with = "dry_run")]
    pub confirm: Option<u64>,
    /// Whether it takes two persons.
    #[arg(long = "erase-two-persons", env = "WSB_ERASE_TWO_PERSONS")]
    pub two_persons: bool,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// `backup`
#[derive(Debug, Args)]
pub struct BackupArguments {
    /// The directory, new or empty; of the broker's machine, if it runs.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// How many MiB it leaves free on the disk of the directory; a broker that runs goes by its own.
    #[arg(long, env = "WSB_MIN_FREE_MIB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(0..=1_048_576))]
    pub min_free_mib: u64,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// `restore`
#[derive(Debug, Args)]
pub struct RestoreArguments {
    /// The directory of the backup.
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// Who has been erased since: the newest list of erased citizens, the data directory that it
    /// lies beside, or a newer backup. Without it the list at --erased-list, if there is one.
    #[arg(long, value_name = "PATH")]
    pub erasures: Option<PathBuf>,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// `explain`
#[derive(Debug, Args)]
pub struct ExplainArguments {
    /// The file with the event, as it would be published; - for standard input.
    #[arg(long, value_name = "FILE")]
    pub event: PathBuf,
    /// Decide as at this time (RFC 3339); default: now.
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// `topology`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct TopologyArguments {
    /// What else to do.
    #[command(subcommand)]
    pub command: Option<TopologyCommand>,
    /// Declare it at RabbitMQ instead of showing it. Needs RabbitMQ only: no store, no broker, no token; hence
    /// no entry in the audit log.
    #[arg(long)]
    pub apply: bool,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// What else can be done with the topology.
#[derive(Debug, Subcommand)]
pub enum TopologyCommand {
    /// Writes RabbitMQ definitions: virtual host, queues, users and their permissions.
    Export(ExportArguments),
}

/// `topology export`
#[derive(Debug, Args)]
pub struct ExportArguments {
    /// The virtual host; default: that of --amqp-uri.
    #[arg(long)]
    pub vhost: Option<String>,
    /// A directory with a file for each user, named as the user, that holds the
    /// password; a user without a file can log in with a certificate only.
    #[arg(long, value_name = "DIRECTORY")]
    pub passwords: Option<PathBuf>,
    /// Leave the users out, and with them their passwords: for users that exist.
    #[arg(long, conflicts_with = "passwords")]
    pub without_users: bool,
}

/// `events`
#[derive(Debug, Args)]
pub struct EventsArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: EventsCommand,
}

/// What can be done with events.
#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Publishes a file of events, one JSON object a line, in order.
    Publish {
        /// The file; - for standard input.
        file: PathBuf,
    },
}

/// `import`
#[derive(Debug, Args)]
pub struct ImportArguments {
    /// The file, one JSON event a line; - for standard input.
    pub file: PathBuf,
    /// Only say what would be taken in, and every line that would not; nothing is changed.
    #[arg(long)]
    pub dry_run: bool,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// `quarantine`
#[derive(Debug, Args)]
pub struct QuarantineArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: QuarantineCommand,
}

/// What can be done with quarantine.
#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// Lists messages in quarantine with the reason, without what they say.
    List {
        /// How the list is written.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Takes a message in again, by the rules in force now.
    Retry {
        /// The message's number, or `all`.
        id: String,
        /// Why, without naming anybody; goes to the audit log.
        #[arg(long)]
        why: Option<String>,
        /// Only say what would be; nothing is changed.
        #[arg(long)]
        dry_run: bool,
        /// How the answer is written.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Gives a message up for good.
    Discard {
        /// The message's number.
        id: u64,
        /// Why; goes to the log.
        #[arg(long)]
        why: String,
        /// Only say what would be; nothing is changed.
        #[arg(long)]
        dry_run: bool,
        /// How the answer is written.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

/// Which deliveries; everything given must hold.
#[derive(Debug, Args)]
pub struct Selecting {
    /// The delivery of this id; may be given several times for a replay.
    #[arg(long)]
    pub id: Vec<String>,
    /// pending, retrying, dead, delivered or withdrawn; what is dead or was delivered can be replayed.
    #[arg(long)]
    pub state: Option<String>,
    /// To this recipient: akasse:067.
    #[arg(long)]
    pub recipient: Option<String>,
    /// Of this EntitetNavn.
    #[arg(long)]
    pub entity: Option<String>,
    /// For this reason: returned, nacked, rejected-by-recipient and so on.
    #[arg(long)]
    pub reason: Option<String>,
    /// Decided at or after this time (RFC 3339), which a list has as `decided at`, and not given up then,
    /// which `deliveries groups` says; in a replay of what was delivered, delivered then.
    #[arg(long)]
    pub since: Option<String>,
    /// Before this time, likewise.
    #[arg(long)]
    pub until: Option<String>,
}

/// `deliveries`
#[derive(Debug, Args)]
pub struct DeliveriesArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: DeliveriesCommand,
}

/// What can be done with deliveries.
#[derive(Debug, Subcommand)]
pub enum DeliveriesCommand {
    /// Lists deliveries that wait, are retried, or are dead.
    List {
        /// Which.
        #[command(flatten)]
        selecting: Selecting,
        /// How many at the most.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// How the list is written.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Shows one delivery with its attempts and the decision behind it.
    Show {
        /// The delivery's id, which is the WSB's message_id.
        id: String,
        /// How the answer is written.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Shows the dead ones by cause: a hundred thousand failures in a few lines.
    /// The times are those at which the first and the latest were given up. A group is replayed by its
    /// recipient, reason and entity; JSON has them as `filter`.
    Groups {
        /// To this recipient only: akasse:067.
        #[arg(long)]
        recipient: Option<String>,
        /// How the groups are written.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Withdraws a delivery for good.
    Discard {
        /// The delivery's id.
        id: String,
        /// Why.
        #[arg(long)]
        why: String,
        /// Only say what would be withdrawn.
        #[arg(long)]
        dry_run: bool,
        /// How the answer is written.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

/// `replays`
#[derive(Debug, Args)]
pub struct ReplaysArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: ReplaysCommand,
}

/// What can be done with replays.
#[derive(Debug, Subcommand)]
pub enum ReplaysCommand {
    /// Selects deliveries and sends them again, each decided anew: the dead, unless told otherwise.
    Start {
        /// Which.
        #[command(flatten)]
        selecting: Selecting,
        /// Only say what would be sent and what would not, and why.
        #[arg(long)]
        dry_run: bool,
        /// At most so many a second.
        #[arg(long, value_name = "PER_SECOND", value_parser = clap::value_parser!(u32).range(1..))]
        rate: Option<u32>,
        /// Send the first so many, then wait for `replays go`.
        #[arg(long, value_name = "FIRST", value_parser = clap::value_parser!(u32).range(1..=1000))]
        canary: Option<u32>,
        /// A name for this request, so that repeating it does not start another replay.
        #[arg(long, value_name = "NAME")]
        request: Option<String>,
        /// Why, without naming anybody; goes to the audit log.
        #[arg(long)]
        why: Option<String>,
        /// Wait until it has finished, or waits for a go.
        #[arg(long)]
        wait: bool,
        /// How the answer is written.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Lists replays, the newest first.
    List {
        /// How the list is written.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Shows how far a replay is, and what became of its first ones.
    Show {
        /// The replay's number.
        id: String,
        /// How the answer is written.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Stops a replay; what it has not reached stays as it is.
    Stop {
        /// The replay's number.
        id: String,
        /// Why, without naming anybody; goes to the audit log.
        #[arg(long)]
        why: Option<String>,
        /// Only say what would be.
        #[arg(long)]
        dry_run: bool,
        /// How the answer is written.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Has a stopped replay go on where it was.
    Resume {
        /// The replay's number.
        id: String,
        /// Why, without naming anybody; goes to the audit log.
        #[arg(long)]
        why: Option<String>,
        /// Only say what would be.
        #[arg(long)]
        dry_run: bool,
        /// Wait until it has finished, or waits for a go.
        #[arg(long)]
        wait: bool,
        /// How the answer is written.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Has a replay go on after its first ones.
    Go {
        /// The replay's number.
        id: String,
        /// Why, without naming anybody; goes to the audit log.
        #[arg(long)]
        why: Option<String>,
        /// Only say what would be.
        #[arg(long)]
        dry_run: bool,
        /// Wait until it has finished.
        #[arg(long)]
        wait: bool,
        /// How the answer is written.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

/// `retention`
#[derive(Debug, Args)]
pub struct RetentionArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: RetentionCommand,
}

/// What can be asked about retention.
#[derive(Debug, Subcommand)]
pub enum RetentionCommand {
    /// Lists the records that would be due on a day, by what is known now.
    Due {
        /// The day, YYYY-MM-DD; default: today in Copenhagen.
        #[arg(long, value_name = "DAY")]
        as_of: Option<String>,
        /// How the list is written.
        #[arg(long, value_enum, default_value_t = DueFormat::Table)]
        format: DueFormat,
    },
    /// Lists deletions that the rules did not expect: too early, blocked, or of a record that is not known.
    Unexpected {
        /// At most so many, the newest.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// How the list is written.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Lists the recipients that have deletion notices lying unfetched in their queue.
    Notices {
        /// How the list is written.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Takes a recipient's unfetched deletion notices as dealt with; takes nothing out of its queue.
    CloseNotices {
        /// Whose: akasse:067.
        recipient: String,
        /// Those delivered until this day, YYYY-MM-DD; default: today in Copenhagen.
        #[arg(long, value_name = "DAY")]
        until: Option<String>,
        /// Why, without naming anybody: how it is known that the vendor has dealt with them.
        #[arg(long)]
        why: String,
        /// Only say what would be closed.
        #[arg(long)]
        dry_run: bool,
        /// How the answer is written.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

/// How what is due is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DueFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// Counts by month and area.
    Calendar,
}

/// `recipients`
#[derive(Debug, Args)]
pub struct RecipientsArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: RecipientsCommand,
}

/// What can be done with recipients.
#[derive(Debug, Subcommand)]
pub enum RecipientsCommand {
    /// Lists the recipients whose queue is paused or has something waiting.
    List {
        /// All of them.
        #[arg(long)]
        all: bool,
        /// How the list is written.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Leaves a recipient's queue alone for a time: nothing is attempted, nothing dies of it.
    Pause {
        /// Whose: akasse:067.
        recipient: String,
        /// Until this time (RFC 3339); default: until resumed.
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// Why, without naming anybody.
        #[arg(long)]
        why: String,
        /// Only say what would be held.
        #[arg(long)]
        dry_run: bool,
        /// How the answer is written.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Lets a recipient's queue go on; probes at once one that does not work.
    Resume {
        /// Whose: akasse:067.
        recipient: String,
        /// Why, without naming anybody; goes to the audit log.
        #[arg(long)]
        why: Option<String>,
        /// Only say how it is.
        #[arg(long)]
        dry_run: bool,
        /// How the answer is written.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

/// `lanes`
#[derive(Debug, Args)]
pub struct LanesArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: LanesCommand,
}

/// What can be done with lanes: what is in one is about one citizen in one domain,
/// and in order. A lane is named by the id of a delivery in it.
#[derive(Debug, Subcommand)]
pub enum LanesCommand {
    /// Lists lanes that wait behind a delivery that is retried, and parked ones.
    List {
        /// To this recipient only: akasse:067.
        #[arg(long)]
        recipient: Option<String>,
        /// How many at the most.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// How the list is written.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Parks a lane: nothing of it is attempted until it is released.
    Park {
        /// The id of a delivery that waits in it.
        id: String,
        /// Why, without naming anybody.
        #[arg(long)]
        why: String,
        /// Only say what would be held.
        #[arg(long)]
        dry_run: bool,
        /// How the answer is written.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Releases a parked lane.
    Release {
        /// The id of a delivery that waits in it, or by which it was parked.
        id: String,
        /// Why, without naming anybody; goes to the audit log.
        #[arg(long)]
        why: Option<String>,
        /// Only say what would go on.
        #[arg(long)]
        dry_run: bool,
        /// How the answer is written.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

/// `trace`
#[derive(Debug, Args)]
pub struct TraceArguments {
    /// The event's id, which is the WSB's correlation_id; or the delivery's, which
    /// is its message_id.
    #[arg(value_name = "EVENT|DELIVERY-ID")]
    pub event: String,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// `token`
#[derive(Debug, Args)]
pub struct TokenArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: TokenCommand,
}

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Makes a token; prints it this once, and the lines that the file needs for it.
    Create {
        /// Whose it is: the name that the audit log has.
        #[arg(long)]
        name: String,
        /// viewer, operator, or vendor: and a recipient, such as vendor:akasse:067.
        #[arg(long)]
        role: String,
        /// Add the lines to this file, which is created if it is not there.
        #[arg(long)]
        file: Option<PathBuf>,
        /// How the answer is written.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Checks a file of tokens; names every mistake with its line and column.
    Check {
        /// The file.
        #[arg(env = "WSB_TOKENS")]
        file: PathBuf,
    },
}

/// `audit`
#[derive(Debug, Args)]
pub struct AuditArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// What can be done with the audit log.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Writes what was done, the oldest first.
    Export {
        /// Done at or after this time (RFC 3339).
        #[arg(long)]
        since: Option<String>,
        /// Done before this time (RFC 3339).
        #[arg(long)]
        until: Option<String>,
        /// How it is written; json has one entry a line, with the hashes.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Checks that nothing was changed, left out or put in.
    Verify,
}
