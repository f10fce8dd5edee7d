//! The one list of adapters, each behind its cargo feature. `init` suggests the first source and the first
//! store of the list.

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
