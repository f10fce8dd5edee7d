//! Connecting to the cluster, and error texts for a failed connection.

use aerospike::{AdminPolicy, AuthMode as Mode, Client, ClientPolicy, Host, TlsPolicy};
use tokio::time::timeout;

use super::{
    AuthMode, BATCHES_AT_ONCE, Login, Settings,
    codes::{self, Verdict},
    millis,
};
use x_msrv_core::{error_chain, store::StoreError};
use x_msrv_net::{
    address::HostPort,
    tls::{self, Tls, TlsError},
};

/// Returns a client that has found its cluster and namespace, with the statistics of one node.
pub(super) async fn connect(settings: &Settings) -> Result<(Client, String), StoreError> {
    let (policy, hosts) = policy_and_hosts(settings)?;
    let statistics = format!("namespace/{}", settings.namespace);
    let attempt = async {
        let client = Client::new(&policy, &hosts).await?;
        let answer = client.info(&AdminPolicy::default(), &["namespaces", &statistics]).await?;
        Ok::<_, aerospike::Error>((client, answer))
    };
    // The client's own timeouts apply to single requests, not to connecting as a whole.
    let (client, mut answer) = match timeout(settings.connect_timeout, attempt).await {
        Ok(Ok(connected)) => connected,
        Ok(Err(cause)) => return Err(error(settings, &cause)),
        Err(_) => {
            let cause = format!("no answer within {}", humantime::format_duration(settings.connect_timeout));
            return Err(StoreError::Unreachable { place: place(settings), cause: cause.into() });
        }
    };
    let statistics = answer.swap_remove(&statistics).unwrap_or_default();
    let namespaces: Vec<&str> = answer.values().flat_map(|names| names.trim().split(';')).collect();
    if !namespaces.contains(&settings.namespace.0.as_str()) {
        let fault = format!("there is no namespace `{}`, only {}", settings.namespace, namespaces.join(", "));
        return Err(StoreError::Setup { place: place(settings), fault });
    }
    Ok((client, statistics))
}

/// Returns the client's settings; certificates and the password are read here.
fn policy_and_hosts(settings: &Settings) -> Result<(ClientPolicy, Vec<Host>), StoreError> {
    let mut policy = ClientPolicy::default();
    policy.timeout = millis(settings.connect_timeout);
    policy.use_services_alternate = settings.use_alternate_addresses;
    policy.max_conns_per_node = 2 * BATCHES_AT_ONCE;
    // An empty pool is polled in steps of 5 ms for the first batch; these connections are opened while the
    // queue connects.
    policy.min_conns_per_node = 1;
    if let Some(Login { user, password, mode }) = &settings.login {
        let password = password.read();
        let password = password.map_err(|error| StoreError::Setup {
            place: "aerospike.password".to_owned(),
            fault: error_chain::text(&error),
        })?;
        policy.auth_mode = match mode {
            AuthMode::Internal => Mode::Internal(user.clone(), password),
            AuthMode::External => Mode::External(user.clone(), password),
        };
    }
    let tls_error = |error: TlsError| StoreError::Setup {
        place: "aerospike.tls".to_owned(),
        fault: error_chain::text(&error),
    };
    let tls = settings.tls.as_deref().map(Tls::load).transpose().map_err(tls_error)?;
    policy.tls_policy = tls.as_ref().map(|tls| TlsPolicy::new(tls.config.clone()));
    let host = |host: &HostPort| match &tls {
        None => Ok(Host::new(&host.host, host.port)),
        // Discovered nodes get the names that these nodes use for them.
        Some(tls) => Ok(Host::new_tls(
            &host.host,
            &tls.server_name(&host.host).map_err(tls_error)?.to_str(),
            host.port,
        )),
    };
    let hosts = settings.hosts.iter().map(host).collect::<Result<_, _>>()?;
    Ok((policy, hosts))
}

pub(super) fn place(settings: &Settings) -> String {
    let hosts: Vec<_> = settings.hosts.iter().map(ToString::to_string).collect();
    format!("Aerospike at {}", hosts.join(", "))
}

/// Returns what an error of the client means for the whole store.
pub(super) fn error(settings: &Settings, error: &aerospike::Error) -> StoreError {
    let place = place(settings);
    let text = error.to_string();
    match refusal(&text) {
        Some(code) => {
            StoreError::Setup { place, fault: refused(settings, code).unwrap_or_else(|| plain(&text)) }
        }
        // The client's error for a response without an answer: that is how a server that requires a login
        // responds.
        None if settings.login.is_none() && text.contains("Missing node name") => StoreError::Setup {
            place,
            fault: "the server requires a login, but `aerospike.user` is not set".to_owned(),
        },
        None if tls::is_refusal_of_ours(&text) => {
            StoreError::Setup { place, fault: tls::in_plain_words(&plain(&text)).into_owned() }
        }
        None => StoreError::Unreachable {
            place,
            cause: format!("{}{}", tls::in_plain_words(&plain(&text)), hint(settings, &text)).into(),
        },
    }
}

/// Returns the code with which a server refuses the client permanently, from the client's text. If several
/// nodes were asked, only the codes are left in it (`format_init_error` in its `cluster/mod.rs`).
fn refusal(text: &str) -> Option<i32> {
    let codes = text.split("Error ").skip(1).filter_map(|rest| rest.split([',', ':']).next()?.parse().ok());
    codes.into_iter().find(|code| codes::of_code(*code) == Some(Verdict::Stop))
}

/// Returns why a login was refused.
fn refused(settings: &Settings, code: i32) -> Option<String> {
    let login = settings.login.as_ref()?;
    let fault = match code {
        51 => return Some(format!("the server has no logins, but `aerospike.user` is set (code {code})")),
        60 => "unknown user",
        62 | 65 | 93 => "wrong password",
        63 => "the password expired",
        82 => "not from this machine",
        90..=92 => "it has no working directory service, but `aerospike.auth-mode` is `external`",
        _ => return None,
    };
    Some(format!("the server refuses the login of `{}`: {fault} (code {code})", login.user))
}

/// Returns the most likely cause of a connection that ends before any data.
fn hint(settings: &Settings, text: &str) -> &'static str {
    if !["reset by peer", "whole buffer", "Broken pipe"].iter().any(|words| text.contains(words)) {
        return "";
    }
    match &settings.tls {
        None => " (it may be a TLS port, but `aerospike.tls` is not set)",
        Some(_) => " (it may be a port without TLS, but `aerospike.tls` is set)",
    }
}

/// The client's words on one line, without the codes that it puts in front of each of its causes (`Error -8:
/// …`).
fn plain(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_code = |word: &str| word.strip_suffix(':').is_some_and(|code| code.parse::<i32>().is_ok());
    let keep = |index: &usize| {
        let code_follows = words.get(index + 1).is_some_and(|next| is_code(next));
        let follows_error = index.checked_sub(1).is_some_and(|before| words[before] == "Error");
        !(words[*index] == "Error" && code_follows || is_code(words[*index]) && follows_error)
    };
    let text = (0..words.len()).filter(keep).map(|index| words[index]).collect::<Vec<_>>().join(" ");
    without_its_steps(&text)
}

/// Without what the client was doing when it failed, which is to connect.
fn without_its_steps(text: &str) -> String {
    const NOT_AEROSPIKE: &str = "Invalid argument: Invalid size for info command buffer: ";
    let text = text
        .replace("Unable to communicate with server cluster: ", "")
        .replace("Failed to resolve host aliases caused by: ", "");
    let text = text.replace(" Error during an I/O operation: ", ": ");
    let text = match text
        .split_once("Failed to connect to [")
        .and_then(|(before, rest)| Some((before, rest.split_once("host(s): ")?.1)))
    {
        Some((before, hosts)) => format!("{before}{hosts}"),
        None => text,
    };
    let mut parts = text.split(NOT_AEROSPIKE);
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str("the server does not speak Aerospike's protocol");
        plain.push_str(part.trim_start_matches(|letter: char| letter.is_ascii_digit()));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_s_text_is_one_line_without_its_codes() {
        let text =
            "Error -8: Unable to connect: 127.0.0.1:9\n\tError -1: I/O: Connection refused (os error 111)\n";
        assert_eq!(plain(text), "Unable to connect: 127.0.0.1:9 I/O: Connection refused (os error 111)");
        let cases = [
            ("h:1 Error during an I/O operation: Connection refused", "h:1: Connection refused"),
            (
                "h:1 Failed to resolve host aliases caused by: Error during an I/O operation: unknown",
                "h:1: unknown",
            ),
            (
                "h:1 Invalid argument: Invalid size for info command buffer: 75107222706512",
                "h:1 the server does not speak Aerospike's protocol",
            ),
        ];
        for (words, expected) in cases {
            let text = format!(
                "Error -8: Unable to communicate with server cluster: Failed to connect to [1] host(s): {words}"
            );
            assert_eq!(plain(&text), expected);
        }
    }
}
