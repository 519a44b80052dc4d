//! Debian's Chromium, headless, spoken to over two pipes (`--remote-debugging-pipe`): JSON messages
//! of the DevTools protocol, each ended by a NUL. No port is opened.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Longer than any step takes on a busy two-core machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two families that every Debian with fontconfig has, and no other: pictures depend on them.
const FONTS: &str = r#"<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <dir>/usr/share/fonts/truetype/dejavu</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
  <selectfont><rejectfont>
    <glob>*Serif*</glob><glob>*Condensed*</glob><glob>*ExtraLight*</glob><glob>*Math*</glob>
  </rejectfont></selectfont>
  <match><edit name="family" mode="append_last"><string>DejaVu Sans</string></edit></match>
  <alias binding="same"><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
"#;

pub struct Browser {
    child: Child,
    input: ChildStdin,
    output: Receiver<Value>,
    session: Option<String>,
    last: u64,
    pub events: Vec<Value>,
    // Removed when the browser is gone.
    _profile: tempfile::TempDir,
}

impl Browser {
    pub fn start() -> Browser {
        let profile = tempfile::tempdir().unwrap();
        let fonts = profile.path().join("fonts.conf");
        std::fs::write(&fonts, FONTS).unwrap();
        // Chromium reads from descriptor 3 and writes to 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec chromium \"$@\" 3<&0 4>&1 1>&2", "chromium"])
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--remote-debugging-pipe",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
            ])
            .args([
                "--disable-sync",
                "--no-first-run",
                "--disable-dev-shm-usage",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("FONTCONFIG_FILE", &fonts)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh is there");
        let input = child.stdin.take().unwrap();
        let mut pipe = BufReader::new(child.stdout.take().unwrap());
        let (send, output) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while pipe.read_until(0, &mut message).is_ok_and(|n| n > 0) {
                message.pop();
                let Ok(value) = serde_json::from_slice(&message) else {
                    break;
                };
                if send.send(value).is_err() {
                    break;
                }
                message.clear();
            }
        });
        let mut browser = Browser {
            child,
            input,
            output,
            session: None,
            last: 0,
            events: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Calls a method and gives its result; events that come in between are kept.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let id = self.last;
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let sent = write!(self.input, "{message}\0").and_then(|()| self.input.flush());
        assert!(sent.is_ok(), "{NO_CHROMIUM}");
        self.until(method, |message| {
            (message["id"] == json!(id)).then(|| message.clone())
        })["result"]
            .take()
    }

    fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> Option<Value>) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let message = self
                .output
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("{what}: {NO_CHROMIUM}"));
            if message["error"].is_object() {
                panic!("{what}: {}", message["error"]);
            }
            if message["method"].is_string() {
                self.events.push(message.clone());
            }
            if let Some(found) = wanted(&message) {
                return found;
            }
        }
    }

    /// Opens a file and waits until it has loaded; gives back the time that took.
    pub fn open(&mut self, file: &Path, fragment: &str) -> Duration {
        self.events.clear();
        let start = Instant::now();
        let url = format!("file://{}{fragment}", file.display());
        self.call("Page.navigate", json!({"url": url}));
        let loaded = |e: &Value| e["method"] == "Page.loadEventFired";
        if !self.events.iter().any(loaded) {
            self.until("Page.loadEventFired", |e| loaded(e).then(|| e.clone()));
        }
        start.elapsed()
    }

    /// Waits until the page's script has drawn everything.
    pub fn ready(&mut self) {
        let wait = "new Promise(done => { const look = () => document.documentElement.dataset.ready === 'yes' ? done('yes') : setTimeout(look, 10); look(); })";
        assert_eq!(self.eval(wait), "yes");
    }

    /// Opens what is folded: tables in it are not counted again before.
    pub fn unfold(&mut self) {
        let open = "document.querySelectorAll('section.view details').forEach(details => (details.open = true)); new Promise(done => setTimeout(done, 60))";
        self.eval(open);
        self.ready();
    }

    /// The value of an expression in the page; promises are waited for.
    pub fn eval(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut result = self.call("Runtime.evaluate", params);
        assert!(
            result["exceptionDetails"].is_null(),
            "{expression}: {result}"
        );
        result["result"]["value"].take()
    }

    /// Presses a key as a keyboard does.
    pub fn press(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            let mut params = json!({"type": kind, "key": key});
            if kind == "keyDown" && key.chars().count() == 1 {
                params["text"] = json!(key);
            }
            self.call("Input.dispatchKeyEvent", params);
        }
    }

    /// Everything that the page said or that was said of it.
    pub fn complaints(&self) -> Vec<String> {
        let told = [
            "Runtime.consoleAPICalled",
            "Runtime.exceptionThrown",
            "Log.entryAdded",
        ];
        let events = self.events.iter();
        events
            .filter(|e| told.iter().any(|method| e["method"] == *method))
            .map(|e| e["params"].to_string())
            .collect()
    }

    /// Addresses that the page asked for.
    pub fn requests(&self) -> Vec<String> {
        let asked = self
            .events
            .iter()
            .filter(|e| e["method"] == "Network.requestWillBeSent");
        asked
            .filter_map(|e| e["params"]["request"]["url"].as_str().map(str::to_owned))
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = write!(
            self.input,
            "{}\0",
            json!({"id": 0, "method": "Browser.close"})
        );
        let _ = self.input.flush();
        for _ in 0..100 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const NO_CHROMIUM: &str =
    "no answer from chromium: is it installed? run scripts/test, which installs it";
