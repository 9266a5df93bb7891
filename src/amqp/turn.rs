//! One batch on one channel, until every message of it has its outcome.
//!
//! lapin keeps the messages that RabbitMQ returns in a queue and hands the
//! oldest to whichever confirm resolves next, so with more than one message
//! under way a return sits on a confirm that is not its own, and an unroutable
//! message looks acknowledged. What makes the answers usable again:
//!
//! - RabbitMQ sends a return before the confirm of the same message. So when a
//!   confirm resolves *without* a return, lapin's queue was empty at that
//!   moment, and the return of that message, if there was one, sits on a
//!   confirm that resolved earlier. Reading every confirm that has resolved so
//!   far therefore decides it.
//! - A confirm that carries somebody else's return decides nothing about its
//!   own message until all confirms of the batch have resolved; by then lapin's
//!   queue is empty, since each return has at least its own confirm behind it.
//! - Hence no channel gets a new batch before the last one is complete.

use std::collections::{HashMap, HashSet};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, Connection, Error, ErrorKind};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::doubts::Destination;
use super::message::{Outcome, Outgoing};

/// How long a batch may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// After this the batch gives its place to the next one.
    pub(super) patience: Duration,
    /// After this what is unanswered is told of.
    pub(super) silence: Duration,
    /// After this what is unanswered counts as timed out.
    pub(super) deadline: Duration,
}

/// What a batch says before it is over.
pub(super) enum Early {
    /// Outcomes that nothing can change any more. The batch has given up its place.
    Decided(Vec<(u64, Outcome)>),
    /// What RabbitMQ has said nothing about, by where it goes.
    Silent(HashSet<Destination>),
}

/// A channel, and where it has been answered from. To anywhere else its next
/// message is the first one.
pub(super) struct Carrier {
    channel: Channel,
    reached: HashSet<Destination>,
}

impl Carrier {
    pub(super) fn has_reached(&self, destination: &Destination) -> bool {
        self.reached.contains(destination)
    }
}

/// A batch that is over.
pub(super) struct Finished {
    /// Where all of it was published to.
    pub(super) exchange: Arc<str>,
    /// The outcomes that were not reported early.
    pub(super) outcomes: Vec<(u64, Outcome)>,
    /// What carried it, if it can carry another batch.
    pub(super) carrier: Option<Carrier>,
    /// Whether the batch had given up its place before.
    pub(super) set_aside: bool,
}

/// Publishes `batch` on the channel of `carrier`, or on a new one, and waits for the answers.
/// A batch that exceeds its patience reports what is decided through `early`
/// and goes on waiting for the rest; later it says where the rest goes, so that one
/// stuck queue holds back no other. Once the connection is given up it waits for
/// nothing more.
pub(super) async fn run(
    connection: Arc<Connection>,
    carrier: Option<Carrier>,
    batch: Vec<Outgoing>,
    limits: Limits,
    early: mpsc::Sender<Early>,
    mut given_up: watch::Receiver<bool>,
) -> Finished {
    let start = Instant::now();
    let deadline = start + limits.deadline;
    let mut answers = Answers::of(&batch);
    let exchange = batch.first().map_or_else(|| "".into(), |message| message.exchange.clone());
    let over =
        |answers: Answers, open| Finished { exchange: exchange.clone(), outcomes: answers.report(open), carrier: None, set_aside: false };
    let Carrier { channel, reached: mut known } = match carrier.filter(|carrier| carrier.channel.status().connected()) {
        Some(carrier) => carrier,
        None => match timeout_at(deadline, open(&connection)).await {
            Ok(Ok(channel)) => Carrier { channel, reached: HashSet::new() },
            Ok(Err(error)) => {
                answers.fail(&error);
                return over(answers, Outcome::ConnectionLost);
            }
            Err(_) => return over(answers, Outcome::TimedOut),
        },
    };

    let mut waiting = publish(&channel, &batch, &mut answers);
    let mut set_aside = false;
    let mut complete = wait(&mut waiting, &mut answers, deadline.min(start + limits.patience), &mut given_up).await;
    let goes_on = |given_up: &watch::Receiver<bool>| Instant::now() < deadline && !*given_up.borrow();
    if !complete && goes_on(&given_up) {
        let decided = sweep_twice(&mut waiting, &mut answers).await;
        // There is room for the reports of each batch; if not, the outcomes come at the end.
        if let Ok(permit) = early.try_reserve() {
            permit.send(Early::Decided(answers.report_early(&decided)));
            set_aside = true;
        }
        complete = wait(&mut waiting, &mut answers, deadline.min(start + limits.silence), &mut given_up).await;
    }
    if !complete && goes_on(&given_up) {
        sweep(&mut waiting, &mut answers).await;
        // Without room the deadline comes first.
        let _ = early.try_send(Early::Silent(answers.open().map(|index| Destination::of(&batch[index])).collect()));
        complete = wait(&mut waiting, &mut answers, deadline, &mut given_up).await;
    }
    if !complete {
        sweep_twice(&mut waiting, &mut answers).await;
        complete = answers.is_complete();
    }
    drop(waiting);
    // A batch goes where its channel has been before, or to a single destination.
    let reached = batch.first().filter(|_| answers.states.contains(&State::Acked)).map(Destination::of);
    let outcomes = answers.report(if *given_up.borrow() { Outcome::ConnectionLost } else { Outcome::TimedOut });
    // Late answers must not meet another batch.
    let carrier = if complete {
        known.extend(reached);
        Some(Carrier { channel, reached: known })
    } else {
        tokio::spawn(close(channel));
        None
    };
    Finished { exchange, outcomes, carrier, set_aside }
}

async fn open(connection: &Connection) -> Result<Channel, Error> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// Closes in words instead of by dropping: lapin ends the whole connection when
/// the close that a drop has queued finds the channel closing already.
async fn close(channel: Channel) {
    // Refused only when the channel is gone, which is what is wanted.
    let _ = channel.close(200, "no confirm in time".into()).await;
}

type Answer = Result<Confirmation, Error>;
type Waiting<'a> = Vec<(usize, Pin<Box<dyn Future<Output = Answer> + Send + 'a>>)>;

/// Hands every message to lapin's queue without waiting for the socket: one
/// wake-up a message would cost more than everything else together.
fn publish<'a>(channel: &'a Channel, batch: &'a [Outgoing], answers: &mut Answers) -> Waiting<'a> {
    let mut waiting = Waiting::with_capacity(batch.len());
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    let now = std::time::Instant::now();
    for (index, message) in batch.iter().enumerate() {
        if message.until.is_some_and(|until| until < now) {
            answers.states[index] = State::TooLate;
            continue;
        }
        let envelope = match message.envelope() {
            Ok(envelope) => envelope,
            Err(field) => {
                answers.unsendable(index, field);
                continue;
            }
        };
        let mut publish: Pin<Box<dyn Future<Output = Answer> + Send>> = Box::pin(async move {
            channel.basic_publish(envelope.exchange, envelope.routing_key, options, &message.body, envelope.properties).await?.await
        });
        // The first poll queues the frames. Nobody is to be woken for it: `wait`
        // polls in order and registers where it stands.
        match publish.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answers.record(index, answer),
            Poll::Pending => waiting.push((index, publish)),
        }
    }
    // Popped from the end, in the order of publishing.
    waiting.reverse();
    waiting
}

/// Records answers until all are in (`true`), or `until` has come or the connection
/// is given up. Waits for one message at a time, so that a burst of confirms costs
/// one wake-up.
async fn wait(waiting: &mut Waiting<'_>, answers: &mut Answers, until: Instant, given_up: &mut watch::Receiver<bool>) -> bool {
    // An error means that nobody is left to give it up.
    let mut alarm = pin!(async {
        tokio::select! {
            () = sleep_until(until) => {}
            Ok(_) = given_up.wait_for(|given_up| *given_up) => {}
        }
    });
    poll_fn(|cx| {
        while let Some((index, next)) = waiting.last_mut() {
            match next.as_mut().poll(cx) {
                Poll::Ready(answer) => {
                    answers.record(*index, answer);
                    waiting.pop();
                }
                Poll::Pending => return alarm.as_mut().poll(cx).map(|()| false),
            }
        }
        Poll::Ready(true)
    })
    .await
}

/// Reads everything that has resolved, twice: what the first pass found is
/// decided only after a pass that began later has seen all returns on confirms
/// that resolved before. Returns what the first pass and earlier waits found.
async fn sweep_twice(waiting: &mut Waiting<'_>, answers: &mut Answers) -> Vec<usize> {
    sweep(waiting, answers).await;
    let decided = answers.answered();
    sweep(waiting, answers).await;
    decided
}

async fn sweep(waiting: &mut Waiting<'_>, answers: &mut Answers) {
    poll_fn(|cx| {
        waiting.retain_mut(|(index, next)| match next.as_mut().poll(cx) {
            Poll::Ready(answer) => {
                answers.record(*index, answer);
                false
            }
            Poll::Pending => true,
        });
        Poll::Ready(())
    })
    .await;
}

/// The answers of a batch so far.
struct Answers {
    messages: Vec<Sent>,
    states: Vec<State>,
    /// By message id.
    returned: HashMap<String, (u16, String)>,
    /// Why the channel ended, as far as RabbitMQ has said it.
    failure: Option<Outcome>,
}

/// What is remembered of a message.
struct Sent {
    token: u64,
    id: String,
    /// Bytes of the body, which is what RabbitMQ measures.
    size: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Open,
    Acked,
    /// Acked, with a return on it that may be somebody else's.
    AckedCarrying,
    Nacked,
    Failed,
    TooLate,
    Unsendable(&'static str),
    Reported,
}

impl Answers {
    fn of(batch: &[Outgoing]) -> Self {
        Self {
            messages: batch
                .iter()
                .map(|message| Sent { token: message.token, id: message.message_id.clone(), size: message.body.len() })
                .collect(),
            states: vec![State::Open; batch.len()],
            returned: HashMap::new(),
            failure: None,
        }
    }

    fn unsendable(&mut self, index: usize, field: &'static str) {
        self.states[index] = State::Unsendable(field);
    }

    fn record(&mut self, index: usize, answer: Answer) {
        self.states[index] = match answer {
            Ok(Confirmation::Ack(None)) => State::Acked,
            Ok(Confirmation::Ack(Some(back))) => {
                self.take_back(back);
                State::AckedCarrying
            }
            Ok(Confirmation::Nack(back)) => {
                if let Some(back) = back {
                    self.take_back(back);
                }
                State::Nacked
            }
            // Cannot be on a channel in confirm mode; unknown is the safe reading.
            Ok(Confirmation::NotRequested) => State::Failed,
            Err(error) => {
                self.learn(&error);
                State::Failed
            }
        };
    }

    fn take_back(&mut self, back: BasicReturnMessage) {
        if let Some(id) = back.delivery.properties.message_id() {
            self.returned.insert(id.to_string(), (back.reply_code, back.reply_text.to_string()));
        }
    }

    /// The channel could not even be opened.
    fn fail(&mut self, error: &Error) {
        self.learn(error);
        for state in &mut self.states {
            *state = State::Failed;
        }
    }

    /// Keeps the reason that RabbitMQ gave; what lapin says about a channel that
    /// is closed already adds nothing.
    fn learn(&mut self, error: &Error) {
        if let ErrorKind::ProtocolError(refusal) = error.kind()
            && error.is_amqp_soft_error()
            && self.failure.is_none()
        {
            let text = refusal.get_message().to_string();
            self.failure = Some(match refusal.get_id() {
                403 => Outcome::AccessRefused { text },
                code => Outcome::ChannelClosed { code, text },
            });
        }
    }

    fn open(&self) -> impl Iterator<Item = usize> {
        (0..self.states.len()).filter(|&index| self.states[index] == State::Open)
    }

    fn is_complete(&self) -> bool {
        !self.states.contains(&State::Open)
    }

    fn answered(&self) -> Vec<usize> {
        (0..self.states.len()).filter(|&index| !matches!(self.states[index], State::Open | State::Reported)).collect()
    }

    /// The outcomes among `decided` that nothing can change any more.
    fn report_early(&mut self, decided: &[usize]) -> Vec<(u64, Outcome)> {
        let mut outcomes = Vec::with_capacity(decided.len());
        for &index in decided {
            let Sent { token, id, .. } = &self.messages[index];
            let outcome = match (self.returned.get(id), self.states[index]) {
                (Some((code, text)), _) => Outcome::Returned { code: *code, text: text.clone() },
                (None, State::Acked) => Outcome::Confirmed,
                (None, State::Nacked) => Outcome::Nacked,
                (None, State::TooLate) => Outcome::TooLate,
                (None, State::Unsendable(field)) => Outcome::Unsendable { field },
                (None, State::AckedCarrying | State::Failed | State::Open | State::Reported) => continue,
            };
            outcomes.push((*token, outcome));
            self.states[index] = State::Reported;
        }
        outcomes
    }

    /// The outcomes of all that was not reported; what is still open becomes
    /// `open`, unless RabbitMQ said why the channel ended.
    fn report(self, open: Outcome) -> Vec<(u64, Outcome)> {
        let whole = !self.states.iter().any(|state| matches!(state, State::Open | State::Failed));
        let is_cut_off = self.states.contains(&State::Failed);
        let failure = self.failure.unwrap_or(Outcome::ConnectionLost);
        // The channel ends for one message; what else was on it has done nothing wrong.
        let limit = most_bytes(&failure).filter(|limit| self.messages.iter().any(|sent| sent.size > *limit));
        let mut outcomes = Vec::with_capacity(self.messages.len());
        for (Sent { token, id, size }, state) in self.messages.into_iter().zip(self.states) {
            let failed = match (limit, &failure) {
                (None, failure) => failure.clone(),
                (Some(limit), Outcome::ChannelClosed { text, .. }) if size > limit => Outcome::TooLarge { text: text.clone() },
                (Some(_), _) => Outcome::ConnectionLost,
            };
            let uncertain = || if is_cut_off { failed.clone() } else { open.clone() };
            let outcome = match (self.returned.get(&id), state) {
                (_, State::Reported) => continue,
                (Some((code, text)), _) => Outcome::Returned { code: *code, text: text.clone() },
                (None, State::Acked) => Outcome::Confirmed,
                (None, State::AckedCarrying) if whole => Outcome::Confirmed,
                (None, State::AckedCarrying) => uncertain(),
                (None, State::Nacked) => Outcome::Nacked,
                (None, State::Failed) => failed,
                (None, State::Open) => open.clone(),
                (None, State::TooLate) => Outcome::TooLate,
                (None, State::Unsendable(field)) => Outcome::Unsendable { field },
            };
            outcomes.push((token, outcome));
        }
        outcomes
    }
}

/// Returns the most bytes that RabbitMQ takes in a message, if it has closed a
/// channel since one had more: `PRECONDITION_FAILED - message size 70000 is larger
/// than configured max size 65536`. Its words are the only place where it says so;
/// should they change, it is any other channel that was closed.
fn most_bytes(failure: &Outcome) -> Option<usize> {
    let Outcome::ChannelClosed { code: 406, text } = failure else { return None };
    let (_, size) = text.split_once("message size ")?;
    let (_, limit) = size.split_once("max size ")?;
    let digits = limit.split(|letter: char| !letter.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;
    use lapin::message::Delivery;
    use lapin::protocol::{AMQPError, AMQPSoftError};

    use super::*;

    fn answers(count: u64) -> Answers {
        let message = |token: u64| Outgoing {
            token,
            until: None,
            exchange: "x".into(),
            routing_key: "q".into(),
            message_id: format!("id-{token}"),
            correlation_id: None,
            kind: None,
            timestamp: 0,
            headers: None,
            body: Vec::new(),
        };
        Answers::of(&(0..count).map(message).collect::<Vec<_>>())
    }

    /// An ack that carries the return of `token`.
    fn ack_with(token: u64) -> Answer {
        let mut delivery = Delivery::mock(0, "x".into(), "q".into(), false, Vec::new());
        delivery.properties = BasicProperties::default().with_message_id(format!("id-{token}").into());
        Ok(Confirmation::Ack(Some(BasicReturnMessage { delivery, reply_code: 312, reply_text: "NO_ROUTE".into() })))
    }

    fn ack() -> Answer {
        Ok(Confirmation::Ack(None))
    }

    fn refused(kind: AMQPSoftError, text: &str) -> Answer {
        Err(ErrorKind::ProtocolError(AMQPError::new(kind.into(), text.into())).into())
    }

    fn returned() -> Outcome {
        Outcome::Returned { code: 312, text: "NO_ROUTE".into() }
    }

    #[test]
    fn a_return_counts_for_its_own_message_wherever_it_sits() {
        let mut answers = answers(4);
        answers.record(0, ack_with(2));
        answers.record(1, ack());
        answers.record(2, ack());
        answers.record(3, Ok(Confirmation::Nack(None)));
        let expected = [(0, Outcome::Confirmed), (1, Outcome::Confirmed), (2, returned()), (3, Outcome::Nacked)];
        assert_eq!(answers.report(Outcome::TimedOut), expected);
    }

    #[test]
    fn an_ack_with_a_strange_return_decides_nothing_before_the_end() {
        // The return of 1 may still be in lapin's queue behind that of 2.
        let mut answers = answers(4);
        answers.record(0, ack());
        answers.record(1, ack_with(2));
        let decided = answers.answered();
        assert_eq!(answers.report_early(&decided), [(0, Outcome::Confirmed)]);
        answers.record(2, ack_with(1));
        let expected = [(1, returned()), (2, returned()), (3, Outcome::TimedOut)];
        assert_eq!(answers.report(Outcome::TimedOut), expected);
    }

    #[test]
    fn an_incomplete_batch_leaves_carriers_unknown() {
        let mut timed_out = answers(3);
        timed_out.record(0, ack_with(1));
        timed_out.record(1, ack());
        let expected = [(0, Outcome::TimedOut), (1, returned()), (2, Outcome::TimedOut)];
        assert_eq!(timed_out.report(Outcome::TimedOut), expected);
    }

    #[test]
    fn the_reason_of_a_closed_channel_holds_for_all_that_it_cut_off() {
        let mut missing = answers(3);
        missing.record(0, ack());
        missing.record(1, refused(AMQPSoftError::NOTFOUND, "NOT_FOUND - no exchange 'x'"));
        missing.record(2, Err(ErrorKind::InvalidChannelState(lapin::ChannelState::Closing, "basic.publish").into()));
        let cut = Outcome::ChannelClosed { code: 404, text: "NOT_FOUND - no exchange 'x'".into() };
        assert_eq!(missing.report(Outcome::TimedOut), [(0, Outcome::Confirmed), (1, cut.clone()), (2, cut)]);

        let mut forbidden = answers(1);
        forbidden.record(0, refused(AMQPSoftError::ACCESSREFUSED, "ACCESS_REFUSED - no"));
        assert_eq!(forbidden.report(Outcome::TimedOut), [(0, Outcome::AccessRefused { text: "ACCESS_REFUSED - no".into() })]);

        // A message that is too large ends the channel, and is alone to blame.
        let text = "PRECONDITION_FAILED - message size 7 is larger than configured max size 5";
        let mut large = answers(4);
        for (index, size) in [(0, 1), (1, 7), (2, 5), (3, 6)] {
            large.messages[index].size = size;
        }
        large.record(0, ack());
        large.record(1, refused(AMQPSoftError::PRECONDITIONFAILED, text));
        large.record(2, Err(ErrorKind::InvalidChannelState(lapin::ChannelState::Closing, "basic.publish").into()));
        large.record(3, Err(ErrorKind::InvalidChannelState(lapin::ChannelState::Closing, "basic.publish").into()));
        let too_large = Outcome::TooLarge { text: text.to_owned() };
        let expected = [(0, Outcome::Confirmed), (1, too_large.clone()), (2, Outcome::ConnectionLost), (3, too_large)];
        assert_eq!(large.report(Outcome::TimedOut), expected);
        // By nothing that we have sent: then whatever it means concerns them all.
        for text in [text, "PRECONDITION_FAILED - something else"] {
            let mut other = answers(1);
            other.record(0, refused(AMQPSoftError::PRECONDITIONFAILED, text));
            assert_eq!(other.report(Outcome::TimedOut), [(0, Outcome::ChannelClosed { code: 406, text: text.to_owned() })]);
        }

        let mut lost = answers(1);
        lost.record(0, Err(ErrorKind::MissingHeartbeatError.into()));
        assert_eq!(lost.report(Outcome::TimedOut), [(0, Outcome::ConnectionLost)]);
    }
}
