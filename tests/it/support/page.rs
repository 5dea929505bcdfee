//! A page and its forms, as a person uses them: a field that is not there, is disabled or has no such choice fails the test.

use actix_web::http::Method;
use scraper::{ElementRef, Html, Selector};

use super::{Answer, Browser};

/// A page that was opened.
pub struct Page {
    browser: Browser,
    pub answer: Answer,
    pub html: Html,
}

/// A form of a page, being filled.
pub struct Form {
    browser: Browser,
    action: String,
    post: bool,
    multipart: bool,
    fields: Vec<Field>,
}

struct Field {
    name: String,
    kind: String,
    value: String,
    label: String,
    on: bool,
    disabled: bool,
    choices: Vec<String>,
    file: Option<(String, Vec<u8>)>,
}

impl std::fmt::Display for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}\n{}", self.answer.status, self.answer.path, super::outline::of(self))
    }
}

/// The text of an element, its white space folded.
pub fn text_of(element: ElementRef<'_>) -> String {
    element.text().collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A selector.
pub fn selector(text: &str) -> Selector {
    Selector::parse(text).unwrap_or_else(|failed| panic!("{text}: {failed}"))
}

impl Page {
    /// A page from its answer.
    pub fn new(browser: Browser, answer: Answer) -> Self {
        let html = Html::parse_document(answer.text());
        Self { browser, answer, html }
    }

    /// Path and query.
    pub fn path(&self) -> &str {
        &self.answer.path
    }

    /// The last part of the path: an identifier, on pages of one thing.
    pub fn id(&self) -> String {
        self.path().rsplit('/').next().unwrap_or_default().to_owned()
    }

    /// Fails unless the page is this one.
    #[track_caller]
    pub fn expect_path(&self, path: &str) -> &Self {
        assert_eq!(self.path(), path, "{self}");
        self
    }

    /// Fails unless the status is this one.
    #[track_caller]
    pub fn expect_status(&self, status: u16) -> &Self {
        assert_eq!(self.answer.status.as_u16(), status, "{self}");
        self
    }

    /// Fails unless these words can be read on the page.
    #[track_caller]
    pub fn expect(&self, words: &str) -> &Self {
        assert!(self.says(words), "“{words}” is not on this page: {self}");
        self
    }

    /// Whether these words can be read on the page.
    pub fn says(&self, words: &str) -> bool {
        text_of(self.html.root_element()).contains(words)
    }

    /// Texts of all elements that a selector finds.
    #[track_caller]
    pub fn texts(&self, which: &str) -> Vec<String> {
        self.html.select(&selector(which)).map(text_of).collect()
    }

    /// An attribute of all elements that a selector finds.
    pub fn attributes(&self, which: &str, name: &str) -> Vec<String> {
        self.html.select(&selector(which)).filter_map(|found| found.attr(name)).map(str::to_owned).collect()
    }

    /// The faults of the form: `field: message`.
    pub fn faults(&self) -> Vec<String> {
        let links = selector(".error-summary li a");
        self.html
            .select(&links)
            .map(|link| format!("{}: {}", link.attr("href").unwrap_or_default().trim_start_matches('#'), text_of(link)))
            .collect()
    }

    /// Follows a link by its text.
    pub async fn click(&self, words: &str) -> Page {
        let links = selector("a[href]");
        let Some(href) = self.html.select(&links).find(|link| text_of(*link) == words).and_then(|link| link.attr("href")) else {
            panic!("there is no link “{words}”: {self}")
        };
        self.browser.open(href).await
    }

    /// The form with this action, or with a button of this text.
    #[track_caller]
    pub fn form(&self, which: &str) -> Form {
        let (forms, buttons) = (selector("form"), selector("button"));
        let mut found = self.html.select(&forms).filter(|form| {
            form.attr("action") == Some(which)
                || form.select(&buttons).any(|button| button.attr("type").is_none() && text_of(button) == which)
        });
        let Some(form) = found.next() else { panic!("there is no form “{which}”: {self}") };
        assert!(found.next().is_none(), "several forms are “{which}”: {self}");
        self.read(form)
    }

    fn read(&self, form: ElementRef<'_>) -> Form {
        let inputs = selector("input, select, textarea");
        let outside = form.attr("id").map(|id| selector(&format!("[form={id}]")));
        let own = form.select(&inputs);
        let others = outside.iter().flat_map(|which| self.html.select(which)).filter(|input| input.value().name() == "input");
        Form {
            browser: self.browser.clone(),
            action: form.attr("action").map_or_else(|| self.path().to_owned(), str::to_owned),
            post: form.attr("method").is_some_and(|method| method.eq_ignore_ascii_case("post")),
            multipart: form.attr("enctype") == Some("multipart/form-data"),
            fields: own.chain(others).filter_map(|input| self.field(input)).collect(),
        }
    }

    fn field(&self, input: ElementRef<'_>) -> Option<Field> {
        let name = input.attr("name")?.to_owned();
        let kind = match input.value().name() {
            "input" => input.attr("type").unwrap_or("text"),
            other => other,
        };
        let every = selector("option");
        let options: Vec<ElementRef<'_>> = input.select(&every).collect();
        let value_of = |option: &ElementRef<'_>| option.attr("value").map_or_else(|| text_of(*option), str::to_owned);
        let chosen = options.iter().find(|option| option.attr("selected").is_some()).or_else(|| options.first());
        let value = match kind {
            "select" => chosen.map(value_of).unwrap_or_default(),
            "textarea" => input.text().collect(),
            "checkbox" | "radio" => input.attr("value").unwrap_or("on").to_owned(),
            _ => input.attr("value").unwrap_or_default().to_owned(),
        };
        Some(Field {
            name,
            value,
            label: input
                .ancestors()
                .filter_map(ElementRef::wrap)
                .find(|above| above.value().name() == "label")
                .map(text_of)
                .unwrap_or_default(),
            on: input.attr("checked").is_some() || !matches!(kind, "checkbox" | "radio"),
            disabled: input.attr("disabled").is_some(),
            choices: options.iter().map(value_of).collect(),
            kind: kind.to_owned(),
            file: None,
        })
    }
}

impl Form {
    fn find(&mut self, name: &str, fits: impl Fn(&Field) -> bool) -> &mut Field {
        let there: Vec<String> = self.fields.iter().map(|field| format!("{} {} {}", field.name, field.kind, field.value)).collect();
        let found = self.fields.iter_mut().find(|field| field.name == name && fits(field));
        let found = found.unwrap_or_else(|| panic!("the form {} has no such field “{name}”: {there:?}", self.action));
        assert!(!found.disabled, "{name} is disabled");
        found
    }

    /// Types into a field, or chooses from a list.
    #[track_caller]
    pub fn fill(mut self, name: &str, value: &str) -> Self {
        let field = self.find(name, |field| !matches!(field.kind.as_str(), "checkbox" | "radio" | "file" | "hidden"));
        assert!(field.kind != "select" || field.choices.iter().any(|choice| choice == value), "{name} offers {:?}", field.choices);
        value.clone_into(&mut field.value);
        self
    }

    /// Chooses one of several by its value or the words beside it, or ticks a box.
    #[track_caller]
    pub fn choose(mut self, name: &str, choice: &str) -> Self {
        let field = self.find(name, |field| {
            matches!(field.kind.as_str(), "checkbox" | "radio") && (field.value == choice || field.label.starts_with(choice))
        });
        let (kind, value) = (field.kind.clone(), field.value.clone());
        for field in self.fields.iter_mut().filter(|field| field.name == name && (kind == "radio" || field.value == value)) {
            field.on = field.value == value;
        }
        self
    }

    /// Unticks all boxes of this name.
    pub fn untick(mut self, name: &str) -> Self {
        self.fields.iter_mut().filter(|field| field.name == name && field.kind == "checkbox").for_each(|field| field.on = false);
        self
    }

    /// Chooses a file.
    #[track_caller]
    pub fn attach(mut self, name: &str, file_name: &str, bytes: Vec<u8>) -> Self {
        self.find(name, |field| field.kind == "file").file = Some((file_name.to_owned(), bytes));
        self
    }

    /// What a field holds now.
    pub fn value(&self, name: &str) -> &str {
        self.fields.iter().find(|field| field.name == name && field.on).map_or("", |field| field.value.as_str())
    }

    /// Adds a field that the page does not have, as an attacker would.
    pub fn smuggle(mut self, name: &str, value: &str) -> Self {
        let (name, value) = (name.to_owned(), value.to_owned());
        let (kind, label) = ("hidden".to_owned(), String::new());
        self.fields.insert(0, Field { name, kind, value, label, on: true, disabled: false, choices: Vec::new(), file: None });
        self
    }

    /// Sends the form and goes where the answer leads.
    pub async fn submit(self) -> Page {
        let browser = self.browser.clone();
        let answer = self.send().await;
        browser.follow(answer).await
    }

    /// Sends the form; the answer is not followed.
    pub async fn send(self) -> Answer {
        let sent = self.fields.iter().filter(|field| field.on && !field.disabled);
        if self.multipart {
            let boundary = "----vmimg-test-boundary";
            let mut body = Vec::new();
            for field in sent {
                let (name, bytes) = field.file.as_ref().map_or(("", &[][..]), |(name, bytes)| (name.as_str(), bytes.as_slice()));
                part(
                    &mut body,
                    boundary,
                    &field.name,
                    (field.kind == "file").then_some(name),
                    if field.kind == "file" { bytes } else { field.value.as_bytes() },
                );
            }
            body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
            return self
                .browser
                .request(Method::POST, &self.action)
                .body(&format!("multipart/form-data; boundary={boundary}"), body)
                .send()
                .await;
        }
        let pairs: Vec<(&str, &str)> = sent.map(|field| (field.name.as_str(), field.value.as_str())).collect();
        if self.post {
            return self.browser.post(&self.action, &pairs).await;
        }
        self.browser.get(&format!("{}?{}", self.action, serde_html_form::to_string(&pairs).unwrap())).await
    }
}

/// Appends one part of a multipart form.
pub fn part(body: &mut Vec<u8>, boundary: &str, name: &str, file_name: Option<&str>, bytes: &[u8]) {
    let file = file_name.map(|name| format!("; filename=\"{name}\"\r\nContent-Type: application/octet-stream")).unwrap_or_default();
    body.extend_from_slice(format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").as_bytes());
    body.extend_from_slice(bytes);
    body.extend_from_slice(b"\r\n");
}
