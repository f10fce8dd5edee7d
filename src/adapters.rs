//! What this program is put together from: the one list of adapters, each behind its cargo feature, and the codec.
//! `init` suggests the first source and the first store of the list.

use x_msrv_core::adapter::{Adapter, Adapters};

/// All adapters of this build, and the format of documents.
pub static ALL: Adapters = Adapters { list: LIST, codec: x_msrv_json::codec };

const LIST: &[&Adapter] = &[
    #[cfg(feature = "nsq")]
    &x_msrv_nsq::ADAPTER,
    #[cfg(feature = "aerospike")]
    &x_msrv_aerospike::ADAPTER,
    #[cfg(feature = "postgres")]
    &x_msrv_postgres::ADAPTER,
    #[cfg(feature = "sqlite")]
    &x_msrv_sqlite::ADAPTER,
];
