//! Where a script may begin: each scene is a list of ordinary commands, which a script of its own
//! shows one by one (`start.txt`, `opening.txt`, `catch-up.txt`).

/// Commands of a scene.
pub fn scene(name: &str) -> Option<Vec<&'static str>> {
    let started = ["found pdc-db mdc-db", "desk elected age=10s", "commit start pdc-db"];
    let endless = ["found pdc-db mdc-db endless", "desk elected age=10s", "commit start pdc-db"];
    let synced = ["commit catch-up mdc-db@1", "commit sync", "commit route"];
    let hosts = [
        "guard mdc-db new gate=absent",
        "guard process 1",
        "guard reading source=A",
        "guard pdc-db new gate=shut",
        "guard process 1",
        "guard reading gtid=A:1-50",
    ];
    let opened = [
        "desk renew mdc-db",
        "guard mdc-db answer",
        "guard settle",
        "desk renew pdc-db",
        "guard pdc-db answer",
        "desk renew pdc-db",
        "guard pdc-db answer",
        "guard settle",
    ];
    let armed = [
        "commit catch-up mdc-db@1",
        "guard mdc-db told",
        "guard settle",
        "guard pdc-db reading clients=1",
        "guard told peer=mdc-db/A:1-50/1",
        "guard settle",
        "commit sync",
        "commit route",
        "guard mdc-db told",
        "guard pdc-db told peer=mdc-db/A:1-50/1",
    ];
    let promoted = [
        "commit begin mdc-db",
        "commit step stop-ackers done",
        "commit step fence fenced",
        "commit step drain done",
        "commit step promote done",
    ];
    let moved = ["commit open", "commit step await-open done", "commit route"];
    Some(match name {
        // The group has an authority; nobody's guard is shown.
        "serving" => started.to_vec(),
        "serving-sync" => [&started[..], &synced].concat(),
        // A failover from pdc-db to mdc-db, before its Open and after its end.
        "promoted" => [&started[..], &synced, &promoted].concat(),
        "moved" => [&started[..], &synced, &promoted, &moved].concat(),
        // Both guards run and pdc-db is open.
        "open" => [&started[..], &hosts, &opened].concat(),
        "open-endless" => [&endless[..], &hosts, &opened].concat(),
        "open-sync" => [&started[..], &hosts, &opened, &armed].concat(),
        _ => return None,
    })
}
