//! The steps that each message passes through, one by one: `cargo bench --bench micro`.

use aerospike::{BatchOperation, BatchWritePolicy, Key, Value, operations};
use bytes::{BufMut as _, Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tokio_util::codec::Decoder as _;
use x_msrv_aerospike::values;
use x_msrv_core::{
    decode::{BigIntegers, ContentEncoding, Decoder, KeyRule, Target},
    message::{Message, Origin},
    record::Record,
};
use x_msrv_json::Json;
use x_msrv_nsq::client::wire::FrameDecoder;

const MESSAGES: u64 = 100;

/// 150 bytes, as in the other benchmarks.
fn body() -> String {
    format!(r#"{{"id":12345678,"msg":"{}","ext":{{"a":1}}}}"#, "x".repeat(112))
}

fn messages() -> Vec<Message> {
    let (origin, body) = (Origin::new("orders@127.0.0.1:4150"), Bytes::from(body()));
    let id = |number| format!("{number:016x}").into();
    (0..MESSAGES)
        .map(|number| Message {
            origin: origin.clone(),
            id: id(number),
            body: body.clone(),
            attempts: std::num::NonZeroU32::new(1),
            last: false,
            details: None,
            published: None,
        })
        .collect()
}

fn decoder() -> Decoder {
    Decoder {
        max_size: 1 << 20,
        encoding: ContentEncoding::Identity,
        codec: Box::new(Json { big_integers: BigIntegers::Reject }),
        key: KeyRule::Message,
        schema: None,
        router: None,
        targets: vec![Target::default()],
    }
}

fn records() -> Vec<Record> {
    let decoder = decoder();
    messages().iter().map(|message| decoder.decode(message).expect("a record").record).collect()
}

fn frames(criterion: &mut Criterion) {
    let body = body();
    let mut stream = BytesMut::new();
    for number in 0..MESSAGES {
        stream.put_u32(u32::try_from(4 + 26 + body.len()).expect("small"));
        stream.put_u32(2);
        stream.put_i64(0);
        stream.put_u16(1);
        stream.put_slice(format!("{number:016x}{body}").as_bytes());
    }
    let mut decoder = FrameDecoder::new(1 << 20);
    let mut group = criterion.benchmark_group("100 messages");
    group.throughput(Throughput::Elements(MESSAGES));
    let mut decode = |mut stream: BytesMut| while decoder.decode(&mut stream).expect("frames").is_some() {};
    group.bench_function("frames", |bencher| {
        bencher.iter_batched(|| stream.clone(), &mut decode, BatchSize::SmallInput);
    });
    group.finish();
}

fn decode(criterion: &mut Criterion) {
    let (decoder, messages) = (decoder(), messages());
    let mut group = criterion.benchmark_group("100 messages");
    group.throughput(Throughput::Elements(MESSAGES));
    group.bench_function("JSON to records", |bencher| {
        bencher.iter(|| {
            messages.iter().map(|message| decoder.decode(message).expect("a record")).collect::<Vec<_>>()
        });
    });
    group.finish();
}

fn encode(criterion: &mut Criterion) {
    let policy = BatchWritePolicy::default();
    let write = |record: Record| {
        let key = Key::new("test", "bench", Value::from(record.key.to_string())).expect("a key");
        let bins = values::bins(record).expect("bins");
        BatchOperation::write(&policy, key, bins.iter().map(operations::put).collect::<Vec<_>>())
    };
    let mut group = criterion.benchmark_group("100 messages");
    group.throughput(Throughput::Elements(MESSAGES));
    group.bench_function("records to a batch", |bencher| {
        bencher.iter_batched(
            records,
            |records| records.into_iter().map(write).collect::<Vec<_>>(),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(micro, frames, decode, encode);
criterion_main!(micro);
