//! What is known of the API's failures, listed by hand from its documentation, its own clients and
//! what was seen live.

/// What somebody has said of the API: the statuses, the code, the words where they matter.
pub(super) type Fact = (&'static [u16], &'static str, &'static str);

/// The codes that any call may get.
pub(super) const GENERAL: &[Fact] = &[
    (&[400], "json_error", ""),
    (&[401], "unauthorized", "unable to authenticate"),
    (&[401, 403], "token_readonly", ""),
    (&[403], "forbidden", ""),
    (&[403], "maintenance", ""),
    (&[403], "resource_limit_exceeded", ""),
    (&[404], "not_found", ""),
    (&[405], "method_not_allowed", ""),
    (&[409], "uniqueness_error", ""),
    (&[409], "conflict", ""),
    (&[410], "deprecated_api_endpoint", ""),
    (&[412], "resource_unavailable", ""),
    (&[422], "invalid_input", ""),
    (&[422], "service_error", ""),
    (&[422], "unsupported_error", ""),
    (&[423], "locked", ""),
    (&[423], "protected", ""),
    (&[429], "rate_limit_exceeded", ""),
    (&[500], "server_error", ""),
    (&[502], "bad_gateway", ""),
    (&[503], "unavailable", ""),
    (&[504], "timeout", ""),
    // Known to Hetzner's own clients, with a status that nobody has written down.
    (&[], "unknown_error", ""),
    (&[], "robot_unavailable", ""),
    (&[], "resource_locked", ""),
];

/// Those of single operations, by the operation that they are documented for.
pub(super) const OF_OPERATIONS: &[(&str, &[Fact])] = &[
    (
        "`POST /servers`",
        &[
            (&[], "placement_error", ""),
            (&[], "primary_ip_assigned", ""),
            (&[], "primary_ip_datacenter_mismatch", ""),
            (&[], "primary_ip_version_mismatch", ""),
        ],
    ),
    (
        "`change_type`",
        &[
            (&[], "invalid_server_type", ""),
            (&[422], "server_not_stopped", ""),
        ],
    ),
    (
        "`add_to_placement_group`",
        &[(&[422], "server_not_stopped", "")],
    ),
    (
        "`attach_to_network`",
        &[
            (&[422], "server_already_attached", ""),
            (&[422], "ip_not_available", ""),
            (&[422], "no_subnet_available", ""),
            (&[422], "networks_overlap", ""),
        ],
    ),
    (
        "`POST /firewalls`",
        &[
            (&[422], "server_already_added", ""),
            (&[422], "incompatible_network_type", ""),
            (&[422], "firewall_resource_not_found", ""),
        ],
    ),
    (
        "`apply_to_resources`",
        &[
            (&[404], "firewall_resource_not_found", ""),
            (&[422], "firewall_already_applied", ""),
            (&[422], "incompatible_network_type", ""),
            (&[422], "private_net_only_server", ""),
        ],
    ),
    (
        "`remove_from_resources`",
        &[
            (&[404, 422], "firewall_resource_not_found", ""),
            (&[422], "firewall_managed_by_label_selector", ""),
        ],
    ),
    (
        "`DELETE /firewalls/{id}`",
        &[(&[422], "resource_in_use", "")],
    ),
    (
        "`DELETE /primary_ips/{id}`",
        &[(&[422], "must_be_unassigned", "")],
    ),
];

/// What a create says when there is no room, or when the account may not.
pub(super) const CAPACITY: &[Fact] = &[
    (&[412], "resource_unavailable", "error during placement"),
    (
        &[412],
        "resource_unavailable",
        "we are unable to provision servers for this location",
    ),
    (&[412], "resource_unavailable", "server location disabled"),
    (&[412], "a_new_code", "server location disabled"),
    (
        &[422],
        "invalid_input",
        "unsupported location for server type",
    ),
    (&[422], "invalid_input", "server location disabled"),
    (&[422], "invalid_input", "server type 104 is deprecated"),
    (&[412, 422], "placement_error", ""),
    (&[403], "forbidden", ""),
    (&[403], "resource_limit_exceeded", "server limit exceeded"),
];

/// Codes that are new since this was written: their status says what it can.
pub(super) const UNKNOWN: &[u16] = &[400, 401, 403, 404, 408, 409, 412, 422, 423, 429, 500];

/// Answers of others than the API: pages, redirects, nothing at all.
pub(super) const GATEWAYS: &[(&[u16], &str)] = &[
    (&[301, 302, 307, 308], "a redirect"),
    (&[401], "401 without a code"),
    (&[403], "403 without a code"),
    (&[404], "404 without a code"),
    (&[408], "408 without a code"),
    (&[429], "429 without a code"),
    (&[400, 405, 410, 418, 422], "any other 4xx without a code"),
    (
        &[500, 502, 503, 504, 520],
        "5xx without a code: text, HTML, empty",
    ),
];
