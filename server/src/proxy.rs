//! What is believed of a request beyond its connection: nothing, unless the connection is a listed
//! proxy's.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::tls::{Certified, NoDevice, is_device_name};

/// Most addresses of `X-Forwarded-For` that are looked at, from its end.
const MAX_HOPS: usize = 16;

/// Whose headers are believed.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// Where they are.
    pub networks: Vec<IpNet>,
    /// The header in which they say whose certificate a device showed.
    pub device_header: Option<HeaderName>,
}

/// Who asks, as far as it is known before any token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Where it is.
    pub address: IpAddr,
    /// Whether it came by HTTPS.
    pub is_secure: bool,
    /// The device, by its certificate.
    pub device: Option<Arc<Certified>>,
}

/// A network, or one address.
///
/// # Errors
/// It is neither.
pub fn network(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address
        .or_else(|_| text.parse::<IpNet>())
        .map_err(|_| "an address such as 10.0.0.1, or a network such as 10.0.0.0/8".to_owned())
}

impl Proxies {
    fn has(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|known| known.contains(&address))
    }

    /// Who asks, when `direct` is at the other end of the connection.
    #[must_use]
    pub fn client(&self, direct: Client, headers: &HeaderMap) -> Client {
        let address = direct.address.to_canonical();
        if !self.has(address) {
            return Client { address, ..direct };
        }
        Client {
            address: self.forwarded_for(address, headers),
            is_secure: match last(headers, "x-forwarded-proto") {
                Some(word) => word.eq_ignore_ascii_case("https"),
                None => direct.is_secure,
            },
            device: match &self.device_header {
                // The proxy's own certificate is no device's then.
                Some(name) => device(headers, name),
                None => direct.device,
            },
        }
    }

    /// The last address that is no proxy's: those before it can be anybody's invention.
    fn forwarded_for(&self, direct: IpAddr, headers: &HeaderMap) -> IpAddr {
        let all = headers.get_all("x-forwarded-for");
        let texts: Vec<&str> = all.iter().filter_map(|value| value.to_str().ok()).collect();
        let hops = texts.iter().rev().flat_map(|text| text.rsplit(','));
        let mut found = direct;
        for hop in hops.take(MAX_HOPS) {
            let Ok(hop) = hop.trim().parse::<IpAddr>() else {
                break;
            };
            found = hop.to_canonical();
            if !self.has(found) {
                break;
            }
        }
        found
    }
}

fn last<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    value.rsplit(',').next().map(str::trim)
}

fn device(headers: &HeaderMap, name: &HeaderName) -> Option<Arc<Certified>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    // One from the client and one from the proxy: it does not take out what it is sent.
    let device = match (first.to_str(), values.count()) {
        (Ok(""), 0) => return None,
        (Ok(name), 0) if is_device_name(name) => Ok(name.into()),
        (_, 0) => Err(NoDevice::Name),
        (_, others) => Err(NoDevice::Names(others + 1)),
    };
    Some(Arc::new(Certified {
        device,
        ends_at: i64::MAX,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                value.parse().expect("a header's value"),
            )
        };
        let mut map = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            map.append(name, value);
        }
        map
    }

    fn from(address: &str) -> Client {
        Client {
            address: address.parse().unwrap(),
            is_secure: false,
            device: None,
        }
    }

    fn proxies(device_header: Option<&'static str>) -> Proxies {
        Proxies {
            networks: vec![network("10.0.0.0/8").unwrap(), network("::1").unwrap()],
            device_header: device_header.map(HeaderName::from_static),
        }
    }

    const ALL: [(&str, &str); 3] = [
        ("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.1.1.1"),
        ("x-forwarded-proto", "https"),
        ("x-ssl-client-cn", "d1"),
    ];

    #[test]
    fn a_stranger_is_believed_nothing() {
        let asked = proxies(Some("x-ssl-client-cn")).client(from("192.0.2.1"), &headers(&ALL));
        assert_eq!(asked, from("192.0.2.1"));
        let nobody = Proxies::default().client(from("10.0.0.1"), &headers(&ALL));
        assert_eq!(nobody, from("10.0.0.1"));
    }

    #[test]
    fn a_proxy_says_who_came_to_it() {
        let asked = proxies(Some("x-ssl-client-cn")).client(from("10.0.0.1"), &headers(&ALL));
        assert_eq!(asked.address, "192.0.2.7".parse::<IpAddr>().unwrap());
        assert!(asked.is_secure);
        assert_eq!(asked.device.unwrap().device, Ok("d1".into()));
        // The name of a device only where that header was named.
        let asked = proxies(None).client(from("::ffff:10.0.0.1"), &headers(&ALL));
        assert_eq!(asked.device, None);
        assert_eq!(asked.address, "192.0.2.7".parse::<IpAddr>().unwrap());
        // A header twice: the client sent one of them.
        let twice = headers(&[("x-ssl-client-cn", "d1"), ("x-ssl-client-cn", "d2")]);
        let asked = proxies(Some("x-ssl-client-cn")).client(from("::1"), &twice);
        assert_eq!(asked.device.unwrap().device, Err(NoDevice::Names(2)));
        // What is no address ends the search.
        let odd = headers(&[("x-forwarded-for", "1.1.1.1, unknown, 10.2.2.2")]);
        let asked = proxies(None).client(from("10.0.0.1"), &odd);
        assert_eq!(asked.address, "10.2.2.2".parse::<IpAddr>().unwrap());
        assert_eq!(
            proxies(None)
                .client(from("10.0.0.1"), &HeaderMap::new())
                .address,
            "10.0.0.1".parse::<IpAddr>().unwrap()
        );
    }
}
