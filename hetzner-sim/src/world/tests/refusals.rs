//! Everything the API says no to.

use rstest::rstest;

use super::*;
use crate::config::StockPreset;

#[rstest]
#[case::user_data("user_data", json!("x".repeat(32_769)), 422, "invalid_input")]
#[case::hostname("name", json!("under_score"), 422, "invalid_input")]
#[case::label_value("labels", json!({"a": "b c"}), 422, "invalid_input")]
#[case::labels_as_array("labels", json!([]), 422, "invalid_input")]
#[case::unknown_type("server_type", json!("cx999"), 422, "invalid_input")]
#[case::unknown_image("image", json!("plan9"), 422, "invalid_input")]
#[case::unknown_location("location", json!("mars"), 422, "invalid_input")]
#[case::datacenter("datacenter", json!("nbg1-dc3"), 422, "invalid_input")]
#[case::unknown_key("ssh_keys", json!(["nobody"]), 404, "not_found")]
#[case::unknown_firewall("firewalls", json!([{"firewall": 1}]), 404, "not_found")]
#[case::unknown_group("placement_group", json!(1), 404, "not_found")]
fn a_create_is_refused_for(
    #[case] field: &str,
    #[case] value: Value,
    #[case] status: u16,
    #[case] expected: &str,
) {
    let mut account = Account::new();
    let mut body = order("a");
    body[field] = value;
    assert_eq!(
        code(&account.post("/v1/servers", &body)),
        (status, expected)
    );
    assert_eq!(account.get("/v1/servers")["servers"], json!([]));
}

#[rstest]
#[case::retired_type("server_type", json!("cx22"), "server type 104 is deprecated")]
#[case::type_not_sold_there("location", json!("ash"), "unsupported location for server type")]
#[case::wrong_architecture("image", json!(123_457), "image has incompatible architecture")]
fn a_create_is_refused_in_the_words_of_the_api(
    #[case] field: &str,
    #[case] value: Value,
    #[case] message: &str,
) {
    let mut account = Account::new();
    let mut body = order("a");
    body[field] = value;
    let reply = account.post("/v1/servers", &body);
    assert_eq!(code(&reply), (422, "invalid_input"));
    assert_eq!(reply.value()["error"]["message"], message);
}

#[test]
fn the_largest_user_data_is_accepted_and_the_field_is_named_beyond() {
    let mut account = Account::new();
    let mut body = order("a");
    body["user_data"] = json!("x".repeat(32_768));
    assert_eq!(account.post("/v1/servers", &body).status, 201);
    body["user_data"] = json!("x".repeat(32_769));
    assert_eq!(
        account.post("/v1/servers", &body).value()["error"]["details"]["fields"],
        json!([{"name": "user_data", "messages": ["Length must be between 0 and 32768."]}])
    );
}

#[test]
fn a_type_retired_in_a_location_cannot_be_ordered_there() {
    let mut account = Account::new();
    let mut body = order("a");
    body["server_type"] = json!("cpx11");
    assert_eq!(account.post("/v1/servers", &body).status, 422);
    body["location"] = json!("ash");
    assert_eq!(account.post("/v1/servers", &body).status, 201);
}

#[test]
fn an_image_name_follows_the_architecture_of_the_type() {
    let mut account = Account::new();
    let mut body = order("a");
    body["image"] = json!("debian-12");
    body["server_type"] = json!("cax11");
    let id = account.create(&body);
    assert_eq!(account.server(id)["image"]["architecture"], "arm");
}

#[test]
fn a_deprecated_image_works_until_its_last_day() {
    let mut account = Account::new();
    let mut body = order("a");
    body["image"] = json!("debian-11");
    assert_eq!(account.post("/v1/servers", &body).status, 201);
    account.pass(10 * 86_400_000);
    body["name"] = json!("b");
    assert_eq!(
        code(&account.post("/v1/servers", &body)),
        (422, "invalid_input")
    );
}

#[test]
fn the_captured_stock_has_no_cx() {
    let mut account = Account::with(timed().stock(StockPreset::Captured));
    let reply = account.post("/v1/servers", &order("a"));
    assert_eq!(
        reply.value()["error"],
        json!({"code": "resource_unavailable", "message": "error during placement", "details": {}})
    );
    assert_eq!(reply.status, 412);
    let mut body = order("a");
    body["server_type"] = json!("cpx22");
    assert_eq!(account.post("/v1/servers", &body).status, 201);
}

#[rstest]
#[case("out_of_stock", 412, "resource_unavailable")]
#[case("withheld", 422, "invalid_input")]
#[case("location_disabled", 412, "resource_unavailable")]
fn a_pair_can_be_taken_out_of_stock_and_the_next_still_works(
    #[case] supply: &str,
    #[case] status: u16,
    #[case] expected: &str,
) {
    let mut account = Account::new();
    let pair = json!({"serverType": "cx23", "location": "nbg1", "supply": supply, "shown": true});
    account.put("/_sim/stock", &json!({"pairs": [pair]}));
    assert_eq!(
        code(&account.post("/v1/servers", &order("a"))),
        (status, expected)
    );
    // The catalogue claims otherwise, as the real one does.
    let listed = account.get("/v1/server_types?name=cx23");
    assert_eq!(listed["server_types"][0]["locations"][1]["available"], true);
    let mut elsewhere = order("a");
    elsewhere["location"] = json!("fsn1");
    assert_eq!(account.post("/v1/servers", &elsewhere).status, 201);
}

#[rstest]
#[case::type_name(json!({"serverType": "cx999", "supply": "out_of_stock"}))]
#[case::retired(json!({"serverType": "cx22", "supply": "out_of_stock"}))]
#[case::location(json!({"serverType": "cx23", "location": "mars", "supply": "out_of_stock"}))]
#[case::supply(json!({"serverType": "cx23", "location": "nbg1", "supply": "gone"}))]
fn a_misspelt_stock_is_refused_and_nothing_changes(#[case] pair: Value) {
    let mut account = Account::new();
    let right = json!({"serverType": "cx23", "location": "nbg1", "supply": "out_of_stock"});
    let refused = account.put("/_sim/stock", &json!({"pairs": [right, pair]}));
    assert_eq!(refused.status, 422);
    account.create(&order("a"));
}

#[test]
fn without_a_location_the_first_with_stock_is_chosen() {
    let mut account = Account::new();
    let pair = json!({"serverType": "cx23", "location": "fsn1", "supply": "out_of_stock"});
    account.put("/_sim/stock", &json!({"pairs": [pair]}));
    let mut body = order("a");
    body.as_object_mut().unwrap().remove("location");
    let id = account.create(&body);
    assert_eq!(account.server(id)["location"]["name"], "nbg1");
}

#[test]
fn the_quota_counts_servers_until_they_are_gone() {
    let mut account = Account::with(timed().max_servers(1));
    let a = account.running("a");
    let reply = account.post("/v1/servers", &order("b"));
    assert_eq!(
        reply.value()["error"],
        json!({
            "code": "resource_limit_exceeded",
            "message": "server limit exceeded",
            "details": {"limits": [{"name": "server_limit"}]},
        })
    );
    assert_eq!(reply.status, 403);
    account.delete(a);
    assert_eq!(
        account.pass(4999).post("/v1/servers", &order("b")).status,
        403
    );
    assert_eq!(account.pass(1).post("/v1/servers", &order("b")).status, 201);
    account.put("/_sim/quota", &json!({"maxServers": 2}));
    assert_eq!(account.post("/v1/servers", &order("c")).status, 201);
}

#[test]
fn a_restricted_account_reads_and_deletes_but_does_not_create() {
    let mut account = Account::new();
    let id = account.running("a");
    account.put("/_sim/account", &json!({"restricted": true}));
    assert_eq!(
        code(&account.post("/v1/servers", &order("b"))),
        (403, "forbidden")
    );
    assert_eq!(account.status_of("GET", "/v1/servers"), 200);
    assert_eq!(account.delete(id).status, 200);
}

#[test]
fn a_protected_server_is_not_deleted() {
    let mut account = Account::new();
    let id = account.running("a");
    let path = format!("/v1/servers/{id}/actions/change_protection");
    account.post(&path, &json!({"delete": true, "rebuild": true}));
    account.pass(1);
    assert_eq!(code(&account.delete(id)), (423, "protected"));
    account.post(&path, &json!({"delete": false, "rebuild": false}));
    assert_eq!(account.pass(1).delete(id).status, 200);
}

#[rstest]
#[case::missing(None, "GET", 401, "unauthorized")]
#[case::empty(Some(""), "GET", 401, "unauthorized")]
#[case::mistyped(Some("wrong"), "GET", 401, "unauthorized")]
#[case::right(Some("rw"), "POST", 201, "none")]
#[case::reading(Some("ro"), "GET", 200, "none")]
#[case::read_only(Some("ro"), "POST", 401, "token_readonly")]
fn tokens(
    #[case] token: Option<&str>,
    #[case] method: &str,
    #[case] status: u16,
    #[case] expected: &str,
) {
    let mut account = Account::with(timed().token("rw").read_only_token("ro"));
    let mut request = Request::new(method, "/v1/servers").json(&order("a"));
    request.bearer = token.map(str::to_owned);
    assert_eq!(code(&account.send(&request)), (status, expected));
}

#[test]
fn without_configured_tokens_any_but_an_empty_one_will_do() {
    let mut account = Account::new();
    assert_eq!(account.status_of("GET", "/v1/servers"), 200);
    let mut request = Request::new("GET", "/v1/servers");
    request.bearer = None;
    assert_eq!(account.send(&request).status, 401);
}

#[rstest]
#[case("GET", "/v1/nonsense", 404, "not_found")]
#[case("GET", "/v2/servers", 404, "not_found")]
#[case("GET", "/v1/servers/abc", 404, "not_found")]
#[case("PATCH", "/v1/servers/1", 405, "method_not_allowed")]
#[case("DELETE", "/v1/server_types/114", 405, "method_not_allowed")]
#[case("GET", "/v1/datacenters", 410, "deprecated_api_endpoint")]
#[case("GET", "/v1/datacenters/3", 410, "deprecated_api_endpoint")]
#[case("GET", "/v1/networks/3", 404, "not_found")]
#[case("GET", "/v1/servers?label_selector=a=", 200, "none")]
#[case("GET", "/v1/servers?label_selector=a(", 422, "invalid_input")]
#[case("GET", "/v1/servers?sort=colour", 422, "invalid_input")]
#[case("GET", "/v1/servers?page=0", 422, "invalid_input")]
fn odd_calls(
    #[case] method: &str,
    #[case] path: &str,
    #[case] status: u16,
    #[case] expected: &str,
) {
    let mut account = Account::new();
    let answer = account.send(&Request::new(method, path));
    assert_eq!(code(&answer), (status, expected));
}

#[test]
fn a_body_that_is_no_json_is_a_400() {
    let mut account = Account::new();
    let mut request = Request::new("POST", "/v1/servers");
    request.body = b"{\"name\":".to_vec();
    assert_eq!(code(&account.send(&request)), (400, "json_error"));
}

#[test]
fn an_exhausted_bucket_answers_429_and_refills_by_the_second() {
    let mut account = Account::with(timed().rate_limit(3600));
    account.put("/_sim/rate-limit", &json!({"remaining": 1}));
    assert_eq!(account.status_of("GET", "/v1/servers"), 200);
    let refused = account.send(&Request::new("GET", "/v1/servers"));
    assert_eq!(
        refused.value()["error"],
        json!({
            "code": "rate_limit_exceeded",
            "message": "limit of 3600 requests per hour reached",
            "details": null,
        })
    );
    assert_eq!(refused.header("ratelimit-remaining"), Some("0"));
    assert!(refused.header("x-correlation-id").is_some());
    assert_eq!(account.pass(1000).status_of("GET", "/v1/servers"), 200);
}

#[test]
fn a_small_bucket_with_a_fast_refill_tells_its_size_and_when_it_is_full_again() {
    let mut account = Account::with(timed().rate_limit(60).rate_refill(3600));
    let statuses: Vec<u16> = (0..61)
        .map(|_| account.status_of("GET", "/v1/servers"))
        .collect();
    assert!(statuses[..60].iter().all(|status| *status == 200));
    assert_eq!(statuses[60], 429);
    let reply = account.pass(1000).send(&Request::new("GET", "/v1/servers"));
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("ratelimit-limit"), Some("60"));
    assert_eq!(reply.header("ratelimit-remaining"), Some("0"));
    let full = (account.now + Duration::seconds(60))
        .timestamp()
        .to_string();
    assert_eq!(reply.header("ratelimit-reset"), Some(full.as_str()));
}

#[test]
fn a_refill_goes_with_the_limit_until_it_is_set_apart() {
    let mut account = Account::new();
    account.put("/_sim/rate-limit", &json!({"limit": 120}));
    assert_eq!(
        account.get("/_sim/state")["rateLimit"],
        json!({"limit": 120, "refill": 120, "remaining": 120})
    );
    account.put("/_sim/rate-limit", &json!({"limit": 60, "refill": 3600}));
    account.put("/_sim/rate-limit", &json!({"limit": 50}));
    assert_eq!(
        account.get("/_sim/state")["rateLimit"],
        json!({"limit": 50, "refill": 3600, "remaining": 50})
    );
}

#[test]
fn calls_that_cannot_authenticate_count_and_have_the_headers() {
    let mut account = Account::with(timed().rate_limit(2));
    let mut stranger = Request::new("GET", "/v1/servers");
    stranger.bearer = None;
    let refused = account.send(&stranger);
    assert_eq!(code(&refused), (401, "unauthorized"));
    assert_eq!(refused.header("ratelimit-remaining"), Some("1"));
    account.send(&stranger);
    let limited = account.send(&Request::new("GET", "/v1/servers"));
    assert_eq!(code(&limited), (429, "rate_limit_exceeded"));
    assert_eq!(limited.header("ratelimit-limit"), Some("2"));
    assert!(limited.header("ratelimit-reset").is_some());
}
