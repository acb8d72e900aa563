//! The dashboard in a real browser: no complaints, keyboard, screen reader, dark and light.

use std::path::PathBuf;

use serde_json::json;

use crate::browser::Browser;
use crate::harness::{Server, eventually};

/// Texts whose contrast with what is behind them is too low (WCAG 2, level AA).
const FAINT: &str = r#"(() => {
  const channel = (c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const parts = (color) => color.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const [r, g, b, a = 1] = parts(getComputedStyle(node).backgroundColor);
      if (a === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !parent.checkVisibility() || parent.closest(".skip")) continue;
    const style = getComputedStyle(parent);
    const [one, two] = [light(parts(style.color)), light(behind(parent))];
    const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    const large = parseFloat(style.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5)) found.push(`${text.slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return found;
})()"#;

/// What has the focus, as a person would call it.
const FOCUS: &str = "document.activeElement.textContent.trim() || document.activeElement.id";

/// A fleet with something of everything: drift, one rollout that stopped and one that goes on.
fn some_fleet() -> Server {
    let server = Server::start();
    server.release("1", "old image");
    server.release("2", "image");
    server.release("3", "next image");
    let mut devices = Vec::new();
    for number in 0..24 {
        let device = server.device(&format!("gateway-{number:02}"));
        device.runs("1");
        devices.push(device);
    }
    let group = json!({"group": "id ~ \"gateway-0*\"", "on_broken_gate": "pause"});
    let stopped = server.rollout(&["1", "50%", "100%"], &group);
    // The first wave is well; of the second some are not.
    let mut takes = 0;
    eventually("it pauses", || {
        for device in &devices {
            if let Some(path) = device.link("deploymentBase") {
                let offer = device.ask("GET", &path, None);
                // It may have been taken back in between.
                if offer.status != 200 {
                    continue;
                }
                let action = offer.json()["id"].as_str().unwrap().to_owned();
                takes += 1;
                if takes == 1 {
                    device.say(&action, "closed", "success").with(200);
                    device.runs("2");
                } else {
                    device.say(&action, "closed", "failure");
                }
            }
        }
        (server.phase(&stopped) == "paused").then_some(())
    });
    let body = json!({"name": "summer", "release": "gateway/3", "group": "id ~ \"gateway-1*\"",
        "plan": {"waves": [{"reach": "3", "soak": 3600}, {"reach": "100%", "soak": 0}]}});
    server
        .api("POST", "/api/v1/rollouts", Some(&body))
        .with(200);
    eventually("it goes on", || {
        devices
            .iter()
            .find_map(|device| device.link("deploymentBase"))
    });
    server
}

fn pictures() -> PathBuf {
    let place = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/reports/dashboard");
    std::fs::create_dir_all(place).unwrap();
    place.into()
}

#[test]
#[ignore = "needs Chromium: `cargo xtask dashboard`"]
fn in_a_real_browser() {
    let server = some_fleet();
    let mut browser = Browser::start();
    browser.look("light", 1280);
    browser.open(&format!("{}/", server.base));
    browser.wait_for("document.querySelector('#login:not([hidden])')");
    // By keyboard alone: the first stop leads past the head, then the token.
    browser.press("Tab");
    assert_eq!(browser.value(FOCUS), json!("Skip to content"));
    browser.press("Tab");
    assert_eq!(browser.value(FOCUS), json!("token"));
    browser.picture(&pictures().join("sign-in.png"));
    assert_eq!(browser.complaints(), [""; 0]);
    browser.write("wrong");
    browser.press("Enter");
    browser.wait_for("document.getElementById('login-error').textContent");
    // The browser itself notes an answer of 401.
    let noted = browser.complaints();
    assert!(noted.iter().all(|one| one.contains("401")), "{noted:?}");
    browser.value("document.getElementById('token').select()");
    browser.write(&server.admin);
    browser.press("Enter");
    browser.wait_for("document.querySelector('.tile')");
    assert_eq!(browser.value("document.activeElement.id"), json!("main"));
    let mut seen = Vec::new();
    for _ in 0..16 {
        browser.press("Tab");
        seen.push(browser.value(FOCUS).as_str().unwrap().to_owned());
    }
    for stop in ["Rollouts", "Devices", "Log", "Sign out"] {
        assert!(seen.iter().any(|found| found == stop), "{stop}: {seen:?}");
    }
    let rollout = server.get("/api/v1/rollouts")[1]["id"].clone();
    let failed = server.get("/api/v1/drift")[0]["id"].clone();
    let pages = [
        ("fleet", "#/".to_owned(), ".tile"),
        ("rollouts", "#/rollouts".into(), ".card"),
        (
            "rollout",
            format!("#/rollout/{}", rollout.as_str().unwrap()),
            ".actions button",
        ),
        ("devices", "#/devices".into(), "#filter"),
        (
            "device",
            format!("#/device/{}", failed.as_str().unwrap()),
            "pre",
        ),
        ("log", "#/audit".into(), "table"),
    ];
    for (name, address, part) in &pages {
        browser.value(&format!("location.hash = '{address}'"));
        browser.wait_for(&format!("document.querySelector('#page {part}')"));
        check_spoken(&mut browser, name);
        for scheme in ["light", "dark"] {
            for (kind, width) in [("", 1280), ("-narrow", 390)] {
                browser.look(scheme, width);
                let faint = browser.value(FAINT);
                assert_eq!(faint, json!([]), "{name}, {scheme}");
                let over = "document.documentElement.scrollWidth - window.innerWidth";
                let over = browser.value(over).as_i64().unwrap();
                assert!(over <= 0, "{name}: {over} pixels too wide at {width}");
                let file = format!("{name}-{scheme}{kind}.png");
                browser.picture(&pictures().join(file));
            }
        }
        browser.look("light", 1280);
    }
    assert_eq!(browser.complaints(), [""; 0]);
    // What happens is seen without a word from anybody.
    browser.value("location.hash = '#/'");
    browser.wait_for("document.querySelector('.tile')");
    let count = "[...document.querySelectorAll('.tile')][1].textContent";
    assert_eq!(browser.value(count), json!("24devices"));
    browser.wait_for("document.getElementById('live').textContent === 'live'");
    server.device("late");
    browser.wait_for(&format!("{count} === '25devices'"));
    // And the keyboard stays where it was.
    browser.value("document.querySelector('#page a').focus()");
    let before = browser.value(FOCUS);
    assert_ne!(before, json!(""));
    server.device("later");
    browser.wait_for(&format!("{count} === '26devices'"));
    assert_eq!(browser.value(FOCUS), before, "the focus was lost");
    // A rollout is steered by keyboard.
    browser.value(&format!("location.hash = '{}'", pages[2].1));
    browser.wait_for("document.querySelector('.actions button')");
    browser.value("document.querySelector('.actions button').focus()");
    assert_eq!(browser.value(FOCUS), json!("resume"));
    browser.press("Enter");
    browser.wait_for("document.querySelector('.phase').textContent !== 'paused'");
    assert_eq!(browser.complaints(), [""; 0]);
    first_paint(&mut browser, &server);
}

/// Landmarks, and a name for everything that can be pressed or filled in.
fn check_spoken(browser: &mut Browser, page: &str) {
    let spoken = browser.spoken();
    let count = |role: &str| spoken.iter().filter(|(found, _)| found == role).count();
    for landmark in ["banner", "navigation", "main"] {
        assert_eq!(count(landmark), 1, "{page}: {landmark}");
    }
    assert!(count("heading") >= 2, "{page}: {spoken:?}");
    for (role, name) in &spoken {
        let needs_name = matches!(
            role.as_str(),
            "button" | "link" | "textbox" | "image" | "table" | "columnheader" | "heading"
        );
        assert!(
            !needs_name || !name.is_empty(),
            "{page}: a {role} has no name"
        );
    }
}

/// How soon something is seen, for people to read.
fn first_paint(browser: &mut Browser, server: &Server) {
    browser.open("about:blank");
    browser.open(&format!("{}/", server.base));
    browser.wait_for("performance.getEntriesByName('first-contentful-paint').length");
    let paint = "Math.round(performance.getEntriesByName('first-contentful-paint')[0].startTime)";
    let paint = browser.value(paint);
    let loaded = "performance.getEntriesByType('resource').filter((one) => !one.name.includes('/api/'))\
        .reduce((sum, one) => sum + one.transferSize, 0)";
    let loaded = browser.value(loaded);
    println!("first contentful paint after {paint} ms; script, style and icon: {loaded} bytes");
    assert!(paint.as_u64().is_some_and(|after| after < 5000), "{paint}");
}
