//! The operations that a frame requests, and the effect of the rules on them.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use super::{
    batch::Batch,
    info,
    log::Log,
    message::{Answer, Field, Header, Op, Request, Row, last_message},
    protocol::{field_type, frame_type, result},
    rules::{Rules, Subject, Then},
    scan::Query,
    storage::Storage,
    wire::{Frame, Malformed, Reader, frame},
};

/// All state behind one lock, which is never held while waiting.
#[derive(Default)]
pub(super) struct State {
    pub(super) storage: Storage,
    pub(super) rules: Rules,
    pub(super) log: Log,
    /// The names of info requests.
    pub(super) asked: BTreeSet<String>,
}

/// What the connection does with an answer.
pub(super) enum Reply {
    Send(Vec<u8>),
    SendThenClose(Vec<u8>),
    SendLate(Vec<u8>, Duration),
    Hang,
    /// Freeze, then carry the request out.
    Freeze,
}

/// A request, with the numbers of its write rows among all write rows.
pub(super) struct Received {
    message: Message,
    numbers: Vec<Option<usize>>,
}

enum Message {
    Info(Vec<u8>),
    Security,
    Single(Row),
    Batch(Batch),
    Query(Query),
}

impl Message {
    fn read(frame: &Frame) -> Result<Self, Malformed> {
        match frame.kind {
            frame_type::INFO => return Ok(Message::Info(frame.body.clone())),
            frame_type::SECURITY => return Ok(Message::Security),
            frame_type::MESSAGE => {}
            _ => return Err(Malformed),
        }
        let mut from = Reader(&frame.body);
        let header = Header::read(&mut from)?;
        let fields = Field::read_all(&mut from, header.fields)?;
        let field = |kind| fields.iter().find(|field| field.kind == kind);
        if let Some(batch) = field(field_type::BATCH) {
            return Batch::read(batch.data).map(Message::Batch);
        }
        let ops = Op::read_all(&mut from, header.ops)?;
        let Some(digest) = field(field_type::DIGEST) else {
            return Query::new(&header, &fields, ops).map(Message::Query);
        };
        let digest = Reader(digest.data).array()?;
        let request = Arc::new(Request::new(header.flags, &fields, ops)?);
        Ok(Message::Single(Row { digest, request }))
    }

    /// The requests for single records that it consists of.
    fn rows(&self) -> Vec<&Row> {
        match self {
            Message::Single(row) => vec![row],
            Message::Batch(batch) => batch.rows.iter().map(|(_, row)| row).collect(),
            Message::Info(_) | Message::Security | Message::Query(_) => Vec::new(),
        }
    }
}

impl Received {
    /// Reads a frame and logs what is in it.
    pub(super) fn new(frame: &Frame, state: &mut State) -> Result<Self, Malformed> {
        let message = Message::read(frame)?;
        if let Message::Batch(batch) = &message {
            state.log.batch(batch.rows.len(), frame.body.len());
        }
        let number = |row: &Row| row.request.is_write().then(|| state.log.write(row));
        let numbers = message.rows().into_iter().map(number).collect();
        Ok(Received { message, numbers })
    }

    /// Carries the request out, or does what the rules require.
    pub(super) fn carry_out(&self, state: &mut State, address: SocketAddr) -> Reply {
        match &self.message {
            Message::Info(names) => carry_out_info(names, state, address),
            Message::Security => Reply::Send(frame(frame_type::SECURITY, &no_security())),
            Message::Query(query) => carry_out_query(query, state),
            Message::Single(_) | Message::Batch(_) => self.carry_out_rows(state),
        }
    }

    fn carry_out_rows(&self, state: &mut State) -> Reply {
        let rows = self.message.rows();
        let subjects = || rows.iter().zip(&self.numbers).map(|(row, n)| Subject::Row(row, *n));
        let of_request = |(at, subject)| Some((at, state.rules.of_request(&subject)?));
        let (at, fault) = subjects().enumerate().find_map(of_request).unzip();
        let rows = match fault {
            Some(Then::Freeze) => return Reply::Freeze,
            Some(Then::Hang) => return Reply::Hang,
            Some(Then::CloseBeforeAnswer) => return Reply::SendThenClose(Vec::new()),
            Some(Then::CloseMidBatch) => at.unwrap_or_default(),
            _ => rows.len(),
        };
        let answers: Vec<Answer> = subjects().take(rows).map(|row| answer(&row, state)).collect();
        let (bytes, end) = match &self.message {
            Message::Batch(batch) => (batch.encode(&answers), batch.end(&answers)),
            _ => (answers.first().map(encode_single).unwrap_or_default(), Vec::new()),
        };
        let whole = || [&bytes[..], &end].concat();
        match fault {
            Some(Then::StoreThenHang) => Reply::Hang,
            Some(Then::StoreThenClose) => Reply::SendThenClose(Vec::new()),
            Some(Then::CloseMidBatch) => Reply::SendThenClose(bytes),
            Some(Then::Delay(delay)) => Reply::SendLate(whole(), delay),
            _ => Reply::Send(whole()),
        }
    }
}

/// Carries one row out and answers it, with the row's fault if it has one.
fn answer(subject: &Subject<'_>, state: &mut State) -> Answer {
    let Subject::Row(row, _) = subject else {
        unreachable!("only rows are answered one by one");
    };
    match state.rules.of_row(subject) {
        Some(Then::Answer(code)) => Answer::code(code),
        Some(Then::StoreThenAnswer(code)) => {
            state.storage.carry_out(row);
            Answer::code(code)
        }
        _ => state.storage.carry_out(row),
    }
}

fn encode_single(answer: &Answer) -> Vec<u8> {
    let mut body = Vec::new();
    answer.write_to(&mut body, 0, &[]);
    frame(frame_type::MESSAGE, &body)
}

fn carry_out_query(query: &Query, state: &mut State) -> Reply {
    if let Some(Then::Answer(code) | Then::StoreThenAnswer(code)) = state.rules.of_row(&Subject::Query) {
        return Reply::Send(last_message(code));
    }
    let fault = state.rules.of_request(&Subject::Query);
    unanswered(fault.as_ref(), || query.run(&state.storage))
}

fn carry_out_info(names: &[u8], state: &mut State, address: SocketAddr) -> Reply {
    state.asked.extend(String::from_utf8_lossy(names).lines().map(str::to_owned));
    let fault = state.rules.of_request(&Subject::Info);
    let body = match state.rules.of_row(&Subject::Info) {
        Some(Then::Answer(code) | Then::StoreThenAnswer(code)) => {
            info::answer_with(names, |_| format!("ERROR:{code}:stand-in"))
        }
        _ => info::answer_with(names, |name| info::value(name, &mut state.storage, address)),
    };
    unanswered(fault.as_ref(), || frame(frame_type::INFO, &body))
}

/// The reply to a request that stores nothing: it makes no difference whether it is carried out.
fn unanswered(fault: Option<&Then>, reply: impl FnOnce() -> Vec<u8>) -> Reply {
    match fault {
        Some(Then::Hang | Then::StoreThenHang) => Reply::Hang,
        Some(Then::CloseBeforeAnswer | Then::StoreThenClose | Then::CloseMidBatch) => {
            Reply::SendThenClose(Vec::new())
        }
        Some(Then::Freeze) => Reply::Freeze,
        Some(Then::Delay(delay)) => Reply::SendLate(reply(), *delay),
        Some(Then::Answer(_) | Then::StoreThenAnswer(_)) | None => Reply::Send(reply()),
    }
}

/// CE refuses all user management and logins; the client reads the code from the second byte
/// (`commands/admin_command.rs`).
fn no_security() -> [u8; 16] {
    let mut body = [0; 16];
    body[1] = result::SECURITY_NOT_SUPPORTED;
    body
}
