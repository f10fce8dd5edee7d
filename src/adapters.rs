//! The one list of adapters, each behind its cargo feature. Of those that can be a queue or a store, the first is
//! suggested.

use x_msrv_core::adapter::{Adapter, Adapters};

/// All adapters of this build.
pub static ALL: Adapters = LIST;

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
