//! What can be ordered, from replies as they come and as they should not.

use cattle_core::catalogue::{Architecture, Offer};
use serde_json::{Value, json};

use super::{
    client,
    fake::{Answer, Fake},
    page, refusal,
};

fn price(location: &str, net: &str) -> Value {
    json!({ "location": location, "price_hourly": { "net": net, "gross": "9" } })
}

fn cx23() -> Value {
    json!({
        "id": 114, "name": "cx23", "description": "CX 23", "category": "cost_optimized",
        "cores": 2, "memory": 4, "disk": 40, "cpu_type": "shared", "architecture": "x86",
        "storage_type": "local", "deprecation": null,
        "prices": [{
            "location": "nbg1",
            "price_hourly": { "net": "0.0088000000", "gross": "0.0104720000000000" },
            "price_monthly": { "net": "5.4900000000", "gross": "6.5331000000000000" },
        }],
        "locations": [
            { "id": 2, "name": "nbg1", "available": true, "recommended": false, "deprecation": null },
            { "id": 4, "name": "ash", "available": false, "recommended": false,
              "deprecation": { "announced": "2025-10-16T00:00:00Z", "unavailable_after": "2025-12-31T23:59:59+00:00" } },
        ],
    })
}

#[tokio::test]
async fn server_types_are_read_from_every_page() {
    let cax11 =
        json!({ "id": 45, "name": "cax11", "architecture": "arm", "memory": 4.5, "disk": 40.0 });
    let fake = Fake::start(vec![
        Answer::Json(200, page("server_types", vec![cx23()], Some(2))),
        Answer::Json(200, page("server_types", vec![cax11], None)),
    ])
    .await;
    let types = client(&fake.url).server_types().await.unwrap();
    assert_eq!(
        fake.requests()[1].line,
        "GET /server_types?page=2&per_page=50"
    );
    let cx23 = &types["cx23"];
    assert_eq!(
        (cx23.id, cx23.cores, cx23.memory_mb),
        (Some(114), Some(2), Some(4096))
    );
    assert_eq!(
        (cx23.disk_gb, cx23.architecture),
        (Some(40), Some(Architecture::X86))
    );
    assert_eq!(cx23.category.as_deref(), Some("cost_optimized"));
    assert_eq!(cx23.prices["nbg1"].hourly, "0.0088".parse().unwrap());
    assert_eq!(cx23.prices["nbg1"].monthly, "5.49".parse().ok());
    assert!(cx23.offers["nbg1"].available);
    assert_eq!(
        cx23.offers["ash"],
        Offer {
            available: false,
            recommended: false,
            unavailable_after: "2025-12-31T23:59:59Z".parse().ok(),
        }
    );
    let cax11 = &types["cax11"];
    assert_eq!(
        (cax11.architecture, cax11.memory_mb),
        (Some(Architecture::Arm), Some(4608))
    );
    assert!(cax11.offers.is_empty() && cax11.prices.is_empty());
}

#[tokio::test]
async fn of_an_odd_type_everything_is_kept_that_can_be_read() {
    let mut odd = cx23();
    odd["name"] = json!("cx23-odd");
    odd["architecture"] = json!("risc-v");
    odd["cores"] = json!("two");
    odd["disk"] = json!(-1);
    odd["prices"] = json!([price("nbg1", "free"), price("fsn1", "0.1"), 7]);
    // One location without a name: then the list cannot say where the type is not offered.
    odd["locations"][1]["name"] = json!(null);
    let fake = Fake::start(vec![Answer::Json(
        200,
        page(
            "server_types",
            vec![json!({ "id": 1 }), json!("x"), odd, cx23()],
            None,
        ),
    )])
    .await;
    let types = client(&fake.url).server_types().await.unwrap();
    assert_eq!(types.keys().collect::<Vec<_>>(), ["cx23", "cx23-odd"]);
    let odd = &types["cx23-odd"];
    assert_eq!(
        (odd.architecture, odd.cores, odd.disk_gb),
        (None, None, None)
    );
    assert_eq!(odd.prices.keys().collect::<Vec<_>>(), ["fsn1"]);
    assert!(odd.offers.is_empty());
}

#[tokio::test]
async fn no_types_at_all_is_no_answer() {
    for body in [page("server_types", vec![], None), json!({}), json!([])] {
        let fake = Fake::start(vec![Answer::Json(200, body)]).await;
        client(&fake.url).server_types().await.unwrap_err();
    }
}

#[tokio::test]
async fn prices_are_net_by_type_and_location() {
    let body = json!({ "pricing": {
        "currency": "EUR",
        "server_types": [
            { "id": 114, "name": "cx23", "prices": [price("nbg1", "0.0088"), price("fsn1", "free")] },
            { "id": 1, "prices": [price("nbg1", "1")] },
        ],
        "primary_ips": [
            { "type": "ipv6", "prices": [price("nbg1", "0.0")] },
            { "type": "ipv4", "prices": [price("nbg1", "0.0008")] },
        ],
    } });
    let fake = Fake::start(vec![Answer::Json(200, body)]).await;
    let pricing = client(&fake.url).pricing().await.unwrap();
    assert_eq!(pricing.currency, "EUR");
    assert_eq!(pricing.server_types.len(), 1);
    let cx23 = &pricing.server_types["cx23"];
    assert_eq!(cx23.len(), 1, "a price that is no number is none");
    assert_eq!(cx23["nbg1"].hourly, "0.0088".parse().unwrap());
    assert_eq!(pricing.ipv4["nbg1"].hourly, "0.0008".parse().unwrap());
}

#[tokio::test]
async fn a_price_list_without_prices_is_an_error() {
    for answer in [
        Answer::Json(200, json!({ "pricing": { "currency": "EUR" } })),
        Answer::Html(200, "<html>"),
        Answer::Json(503, refusal("unavailable", "later")),
        Answer::Cut,
    ] {
        let fake = Fake::start(vec![answer]).await;
        client(&fake.url).pricing().await.unwrap_err();
    }
}
