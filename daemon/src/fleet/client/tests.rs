use std::cell::RefCell;
use std::collections::BTreeMap;

use super::*;

/// A server that knows what it answers, and remembers what it was asked.
#[derive(Default)]
struct Canned {
    answers: BTreeMap<&'static str, Result<&'static str, u16>>,
    asked: RefCell<Vec<String>>,
}

impl Canned {
    fn answer(&self, method: &str, url: &str, body: &str) -> Result<Vec<u8>, FetchError> {
        let path = url.strip_prefix("https://fleet.example").unwrap();
        let line = format!("{method} {path} {body}");
        self.asked.borrow_mut().push(line.trim_end().to_owned());
        match self.answers.get(path) {
            Some(Ok(text)) => Ok(text.as_bytes().to_vec()),
            Some(Err(status @ (404 | 410))) => Err(FetchError::Missing {
                url: url.into(),
                status: *status,
            }),
            Some(Err(status)) => Err(FetchError::Status {
                url: url.into(),
                status: *status,
                retry_after: None,
            }),
            None => Ok(Vec::new()),
        }
    }
}

impl Api for Canned {
    fn send(
        &self,
        method: Method,
        url: &str,
        who: Option<&str>,
        body: Option<String>,
        _: u64,
    ) -> Result<Vec<u8>, FetchError> {
        if method == Method::GET {
            assert!(who.is_none_or(|who| who == "TargetToken secret" || who == "TargetToken new"));
        }
        self.answer(method.as_str(), url, &body.unwrap_or_default())
    }
}

const BASE: &str = "/DEFAULT/controller/v1/d1";
const IDLE: &str = r#"{"config":{"polling":{"sleep":"00:05:00"}}}"#;

fn access() -> Access {
    Access {
        url: "https://fleet.example".into(),
        tenant: "DEFAULT".into(),
        id: "d1".into(),
        authorization: Some(Secret("TargetToken secret".into())),
        enroll: None,
        proposed: None,
    }
}

fn turn(api: &Canned, access: &Access, turn: &Turn) -> Result<Word, FetchError> {
    Client::new(api, access).turn(turn)
}

fn server(answers: &[(&'static str, Result<&'static str, u16>)]) -> Canned {
    Canned {
        answers: answers.iter().copied().collect(),
        ..Canned::default()
    }
}

#[test]
fn an_idle_turn_is_one_request() {
    let api = server(&[(BASE, Ok(IDLE))]);
    let word = turn(&api, &access(), &Turn::default()).unwrap();
    assert_eq!(word.sleep, Some(300));
    assert_eq!(word.wanted, None);
    assert_eq!(*api.asked.borrow(), [format!("GET {BASE}")]);
}

#[test]
fn tells_first_and_asks_then() {
    let poll = r#"{"config":{"polling":{"sleep":"00:00:30"}},"_links":{
        "configData":{"href":"http://elsewhere/x/configData"},
        "deploymentBase":{"href":"http://elsewhere/DEFAULT/controller/v1/d1/deploymentBase/7?c=-1"}}}"#;
    let deployment = r#"{"id":"7","deployment":{"download":"forced","update":"attempt","chunks":[
        {"part":"os","version":"2.0","name":"kiosk","artifacts":[]}]}}"#;
    let api = server(&[
        (BASE, Ok(poll)),
        (
            "/DEFAULT/controller/v1/d1/deploymentBase/7?c=-1",
            Ok(deployment),
        ),
        // The server has forgotten about this one.
        (
            "/DEFAULT/controller/v1/d1/deploymentBase/5/feedback",
            Err(410),
        ),
    ]);
    let report = |action: &str| Report {
        action: action.into(),
        about: About::Deployment,
        body: "{}".into(),
    };
    let attributes = BTreeMap::from([("site".to_owned(), "lab".to_owned())]);
    let told = Turn {
        reports: vec![report("5"), report("6")],
        attributes: Some(attributes),
        attributes_new: false,
    };
    let word = turn(&api, &access(), &told).unwrap();
    assert_eq!((word.told, word.attributes_told), (2, true));
    let wanted = word.wanted.unwrap();
    let (product, version) = wanted.release.unwrap();
    assert_eq!((product.as_str(), version.as_str()), ("kiosk", "2.0"));
    assert_eq!((wanted.action.as_str(), wanted.confirm), ("7", false));
    assert_eq!(wanted.later, None);
    assert_eq!(
        *api.asked.borrow(),
        [
            format!("POST {BASE}/deploymentBase/5/feedback {{}}"),
            format!("POST {BASE}/deploymentBase/6/feedback {{}}"),
            format!("GET {BASE}"),
            format!("PUT {BASE}/configData {{\"data\":{{\"site\":\"lab\"}},\"mode\":\"replace\"}}"),
            format!("GET {BASE}/deploymentBase/7?c=-1"),
        ],
        "no link led to another server"
    );
}

#[test]
fn what_the_server_does_not_want_yet_is_said() {
    let of = |text: &str| {
        let base: DeploymentBase = serde_json::from_str(text).unwrap();
        wanted("1".into(), &base.deployment, false)
    };
    let skip = of(
        r#"{"id":"1","deployment":{"download":"forced","update":"skip","maintenanceWindow":
        "unavailable","chunks":[{"part":"os","version":"2","name":"kiosk"}]}}"#,
    );
    assert!(skip.later.unwrap().contains("maintenance window"));
    let odd =
        of(r#"{"id":"1","deployment":{"chunks":[{"part":"os","version":"2","name":"a b"}]}}"#);
    assert!(odd.release.unwrap_err().contains("\"a b\""));
    let none = of(r#"{"id":"1","deployment":{"chunks":[]}}"#);
    assert!(none.release.unwrap_err().contains("0 pieces"));
}

#[test]
fn stops_and_agreements_have_their_own_addresses() {
    let poll = r#"{"config":{"polling":{"sleep":"x"}},"_links":{
        "cancelAction":{"href":"https://fleet.example/DEFAULT/controller/v1/d1/cancelAction/9"}}}"#;
    let api = server(&[
        (BASE, Ok(poll)),
        (
            "/DEFAULT/controller/v1/d1/cancelAction/9",
            Ok(r#"{"id":"9","cancelAction":{"stopId":"7"}}"#),
        ),
    ]);
    let report = |about| Report {
        action: "7".into(),
        about,
        body: "{}".into(),
    };
    let told = Turn {
        reports: vec![report(About::Cancellation), report(About::Confirmation)],
        ..Turn::default()
    };
    let word = turn(&api, &access(), &told).unwrap();
    let stop = word.stop.unwrap();
    assert_eq!(
        (stop.cancellation.as_str(), stop.action.as_str()),
        ("9", "7")
    );
    assert_eq!(word.sleep, None, "a pause that is none");
    let asked = api.asked.borrow();
    assert!(asked[0].contains("/cancelAction/7/feedback"), "{asked:?}");
    assert!(
        asked[1].contains("/confirmationBase/7/feedback"),
        "{asked:?}"
    );
}

#[test]
fn a_new_device_exchanges_the_token_of_its_fleet() {
    let new = Access {
        authorization: None,
        enroll: Some(Secret("fleet".into())),
        proposed: Some(Secret("new".into())),
        ..access()
    };
    let api = server(&[
        (BASE, Ok(IDLE)),
        (
            "/api/v1/enroll",
            Ok(r#"{"id":"d1","token":"new","state":"active"}"#),
        ),
    ]);
    let word = turn(&api, &new, &Turn::default()).unwrap();
    assert_eq!(word.token, Some(Secret("new".into())));
    let asked = api.asked.borrow()[0].clone();
    assert_eq!(asked, r#"POST /api/v1/enroll {"id":"d1","token":"new"}"#);
    let api = server(&[("/api/v1/enroll", Err(409))]);
    let error = turn(&api, &new, &Turn::default()).unwrap_err();
    assert!(error.to_string().contains("`fleet.id`"), "{error}");
}

#[test]
fn refusals_say_the_way_out() {
    let unknown = Access {
        authorization: None,
        ..access()
    };
    for (access, status, words) in [
        (&unknown, 401, "fleet.enroll-token-file"),
        (&access(), 401, "does not know this device"),
        (&access(), 403, "approve"),
        (&access(), 500, "status 500"),
    ] {
        let api = server(&[(BASE, Err(status))]);
        let error = turn(&api, access, &Turn::default()).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    let portal = server(&[(BASE, Ok("<html>Welcome to the hotel"))]);
    let error = turn(&portal, &access(), &Turn::default()).unwrap_err();
    assert!(error.to_string().contains("no document"), "{error}");
}
