//! Lists: filters are the caller's, sorting, paging and the `Link` header are here.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use crate::{
    error::ApiError,
    message::{Answer, Request},
};

/// The reference: 25 unless asked, 50 at most. More is clamped.
const PER_PAGE_DEFAULT: usize = 25;
const PER_PAGE_MAX: usize = 50;

/// One field that a list can be sorted by.
pub(crate) type SortField<T> = (&'static str, fn(&T, &T) -> Ordering);

/// Sorts and pages `items` and renders the page under `key`.
///
/// # Errors
/// 422 for a sort field the list does not have, or a page that is not a positive number.
pub(crate) fn list<T>(
    request: &Request,
    key: &str,
    mut items: Vec<&T>,
    fields: &[SortField<T>],
    render: impl Fn(&T) -> Value,
) -> Result<Answer, ApiError> {
    sort(request, &mut items, fields)?;
    let page = number(request, "page")?.unwrap_or(1);
    let per_page = number(request, "per_page")?
        .unwrap_or(PER_PAGE_DEFAULT)
        .min(PER_PAGE_MAX);
    let total = items.len();
    let last_page = total.div_ceil(per_page).max(1);
    let previous = (page > 1).then(|| page - 1);
    let next = (page < last_page).then(|| page + 1);
    let rendered: Vec<Value> = items
        .into_iter()
        .skip((page - 1).saturating_mul(per_page))
        .take(per_page)
        .map(render)
        .collect();
    let mut body = Map::new();
    body.insert(key.to_owned(), Value::Array(rendered));
    body.insert(
        "meta".to_owned(),
        json!({"pagination": {
            "page": page,
            "per_page": per_page,
            "previous_page": previous,
            "next_page": next,
            "last_page": last_page,
            "total_entries": total,
        }}),
    );
    let mut answer = Answer::ok(Value::Object(body));
    let links: Vec<String> = [
        (previous, "prev"),
        (next, "next"),
        (Some(last_page), "last"),
    ]
    .into_iter()
    .filter_map(|(page, rel)| page.map(|page| link(request, page, per_page, rel)))
    .collect();
    answer.headers.push(("Link", links.join(", ")));
    Ok(answer)
}

fn number(request: &Request, key: &str) -> Result<Option<usize>, ApiError> {
    request
        .param(key)
        .map(|text| match text.parse() {
            Ok(n) if n > 0 => Ok(n),
            _ => Err(ApiError::invalid(key, "must be a positive number")),
        })
        .transpose()
}

fn sort<T>(request: &Request, items: &mut [&T], fields: &[SortField<T>]) -> Result<(), ApiError> {
    if fields.is_empty() {
        // The hcloud CLI sends `sort` to lists that document no field, and is served.
        return Ok(());
    }
    let mut orders = Vec::new();
    for wanted in request.params("sort") {
        let (name, direction) = wanted.split_once(':').unwrap_or((wanted, "asc"));
        let field = fields.iter().find(|(field, _)| *field == name);
        match (field, direction) {
            (Some((_, compare)), "asc") => orders.push((*compare, false)),
            (Some((_, compare)), "desc") => orders.push((*compare, true)),
            _ => {
                return Err(ApiError::invalid(
                    "sort",
                    format!("cannot sort by '{wanted}'"),
                ));
            }
        }
    }
    items.sort_by(|a, b| {
        orders
            .iter()
            .map(|(compare, descending)| {
                let order = compare(a, b);
                if *descending { order.reverse() } else { order }
            })
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    });
    Ok(())
}

/// The same call for another page. Hosts differ by how the simulator is reached, so the target
/// is relative; clients of the API page by `meta`.
fn link(request: &Request, page: usize, per_page: usize, rel: &str) -> String {
    let mut query: Vec<String> = request
        .query
        .iter()
        .filter(|(key, _)| key != "page" && key != "per_page")
        .map(|(key, value)| format!("{}={}", escape(key), escape(value)))
        .collect();
    query.push(format!("page={page}"));
    query.push(format!("per_page={per_page}"));
    format!("<{}?{}>; rel={rel}", request.path, query.join("&"))
}

fn escape(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(b).to_string()
            }
            _ => format!("%{b:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn page(query: &str, items: usize) -> Answer {
        let numbers: Vec<usize> = (1..=items).collect();
        let request = Request::new("GET", &format!("/v1/numbers?{query}"));
        let fields: &[SortField<usize>] = &[("id", Ord::cmp)];
        list(&request, "numbers", numbers.iter().collect(), fields, |n| {
            json!(n)
        })
        .unwrap()
    }

    #[test]
    fn an_empty_list_has_one_page_and_no_neighbours() {
        assert_eq!(
            page("", 0).value(),
            &json!({"numbers": [], "meta": {"pagination": {
                "page": 1, "per_page": 25, "previous_page": null, "next_page": null,
                "last_page": 1, "total_entries": 0
            }}})
        );
    }

    #[test]
    fn a_page_holds_25_unless_asked_and_never_more_than_50() {
        assert_eq!(
            page("", 60).value()["numbers"].as_array().unwrap().len(),
            25
        );
        let big = page("per_page=100", 60);
        assert_eq!(big.value()["numbers"].as_array().unwrap().len(), 50);
        assert_eq!(big.value()["meta"]["pagination"]["per_page"], 50);
    }

    #[test]
    fn the_last_page_has_no_next_one() {
        let last = page("page=3", 60);
        assert_eq!(last.value()["numbers"].as_array().unwrap().len(), 10);
        assert_eq!(last.value()["meta"]["pagination"]["next_page"], Value::Null);
        assert_eq!(
            last.header("link").unwrap(),
            "</v1/numbers?page=2&per_page=25>; rel=prev, </v1/numbers?page=3&per_page=25>; rel=last"
        );
    }

    #[test]
    fn a_list_without_sort_fields_ignores_sorting() {
        let request = Request::new("GET", "/v1/numbers?sort=id:asc");
        assert!(list(&request, "numbers", vec![&2, &1], &[], |n| json!(n)).is_ok());
    }

    #[test]
    fn sorting_goes_both_ways_and_unknown_fields_are_refused() {
        assert_eq!(
            page("sort=id:desc&per_page=2", 5).value()["numbers"],
            json!([5, 4])
        );
        let request = Request::new("GET", "/v1/numbers?sort=colour");
        let fields: &[SortField<usize>] = &[("id", Ord::cmp)];
        assert_eq!(
            list(&request, "numbers", vec![], fields, |n| json!(n))
                .unwrap_err()
                .status,
            422
        );
    }
}
