//! Ways through several pages that many tests begin with.

use super::{App, Browser, Page};

impl App {
    /// Goes through the wizard up to its summary, with operating system *Other*.
    pub async fn summary(&self, browser: &Browser, name: &str, storage: &str) -> Page {
        let page = browser.open("/images/new").await;
        let page = page.form("Continue").fill("name", name).submit().await;
        let page = page.form("Continue to summary").choose("storage", storage).fill("os", "other").submit().await;
        page.expect("Step 3 of 3").expect_status(200);
        page
    }

    /// Creates an image with its file on “local”; answers its identifier.
    pub async fn image(&self, name: &str, bytes: Vec<u8>) -> String {
        self.image_on("local", name, bytes).await
    }

    /// Creates an image with its file on this storage; answers its identifier.
    pub async fn image_on(&self, storage: &str, name: &str, bytes: Vec<u8>) -> String {
        let page = self.summary(&self.admin(), name, storage).await;
        let page = page.form("Create image").attach("file", "image.iso", bytes).submit().await;
        page.expect("is complete. The image is Available.");
        page.id()
    }

    /// Creates an image without sending its file, as a script does before it sends; answers its identifier. Its transfer is live.
    pub async fn announced(&self, browser: &Browser, name: &str, bytes: &[u8]) -> String {
        let page = self.summary(browser, name, "local").await;
        let create = page.attributes("form", "data-create-url").remove(0);
        let (size, head) = (bytes.len(), bytes[..bytes.len().min(65_536)].to_vec());
        let path = format!("{create}?name=image.iso&size={size}");
        let answer = browser.request(actix_web::http::Method::POST, &path).json().body("application/octet-stream", head).send().await;
        answer.expect(201).json()["image"].as_str().unwrap().strip_prefix("/images/").unwrap().to_owned()
    }

    /// As if an image had been announced and nothing had come: Pending, without a transfer.
    pub async fn pending(&self, name: &str) -> String {
        let id = self.announced(&self.admin(), name, &super::iso(name)).await;
        self.run_out(&id);
        vmimg::jobs::end_leases(&self.service).await.unwrap();
        id
    }

    /// Lets the lease of an image's transfer run out.
    pub fn run_out(&self, image: &str) {
        assert_eq!(self.sql(&format!("UPDATE uploads SET lease_until = 1 WHERE image_id = '{image}'")), 1);
    }

    /// Gives an image to a machine of this name in *Default*.
    pub fn attach(&self, image: &str, machine: &str) {
        let id = vmimg::domain::ids::VmId::new();
        self.sql(&format!("INSERT INTO virtual_machines (id, cluster_id, name, created_at) SELECT '{id}', id, '{machine}', 0 FROM clusters WHERE name = 'Default'"));
        self.sql(&format!("INSERT INTO attachments (image_id, vm_id, attached_at) VALUES ('{image}', '{id}', 0)"));
    }

    /// Takes all images from all machines.
    pub fn detach_all(&self) {
        self.sql("DELETE FROM attachments");
        self.sql("DELETE FROM virtual_machines");
    }

    /// Copies rows of the one image that there is until there are `total`, by SQL alone: names `Image <n>`, ages apart by a second.
    pub fn many_images(&self, total: u32) {
        let numbers = match self.database_url.ends_with(".db") {
            true => format!("WITH RECURSIVE numbers (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM numbers WHERE n < {total})"),
            false => format!("WITH numbers (n) AS (SELECT n FROM generate_series(2, {total}) AS series (n))"),
        };
        let id = |n: &str| match self.database_url.ends_with(".db") {
            true => format!("printf('01900000-0000-7000-8000-%012d', {n})"),
            false => format!("'01900000-0000-7000-8000-' || lpad({n}::text, 12, '0')"),
        };
        let name = match self.database_url.ends_with(".db") {
            true => "printf('%06d', n)",
            false => "lpad(n::text, 6, '0')",
        };
        self.sql(&format!(
            "{numbers} INSERT INTO images (id, kind, status, storage_id, name, search_key, name_key, note, os, min_vcpu, min_memory_mib, min_disk_gib, \
             size_bytes, sha256, format, label, publisher, boot, file_name, file_state, file_checked_at, reserved_bytes, status_since, created_at, \
             created_by, created_by_name, version) \
             SELECT {}, kind, status, storage_id, 'Image ' || {name}, 'image ' || {name}, 'image ' || {name}, note, \
             CASE WHEN n % 3 = 0 THEN 'debian-13' ELSE 'other' END, min_vcpu, min_memory_mib, min_disk_gib, \
             size_bytes + n % 7, sha256, format, label, publisher, boot, file_name, file_state, file_checked_at, reserved_bytes, status_since, \
             created_at + 1000000 * (CAST(n AS BIGINT) / 2), created_by, created_by_name, version FROM numbers, (SELECT * FROM images LIMIT 1) AS one",
            id("n")
        ));
    }
}

/// Waits until something is so, and fails if it is not within a while.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let start = std::time::Instant::now();
    while !is_so().await {
        assert!(start.elapsed().as_secs() < 20, "{what} did not happen");
        actix_web::rt::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
