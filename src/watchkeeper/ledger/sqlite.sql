-- name: schema
-- The audit chain, and the tables whose digests it holds. Numbers with a fraction are of type
-- `any`, because a `real` column turns -0.0 into 0.
create table link (
    seq integer primary key,
    kind text not null,
    at integer not null,
    body text not null,
    hash text not null
) strict;
create table step (
    tick integer primary key,
    "offset" integer not null,
    rulebook text not null,
    accepted integer not null,
    rejected integer not null,
    scored integer not null,
    duplicate integer not null,
    late integer not null,
    scores text not null,
    seq integer not null
) strict;
create table entity (
    name text primary key
) strict, without rowid;
create table health (
    id integer primary key,
    tick integer not null,
    entity text not null,
    time integer not null,
    health any,
    state text not null,
    coverage any not null,
    score any not null,
    contributions text not null
) strict;
create index health_by_tick on health (tick);
create unique index health_by_entity on health (entity, time);
create table decision (
    id integer primary key,
    tick integer not null,
    key text not null unique,
    policy text not null,
    version text not null,
    entity text not null,
    phase text not null,
    at integer not null,
    severity text not null,
    health any,
    reason text not null,
    outcome text not null,
    trace text not null
) strict;
create index decision_by_tick on decision (tick);
create index decision_by_time on decision (at);
create index decision_by_entity on decision (entity, at);
create table orders (
    id integer primary key,
    tick integer not null,
    key text not null unique,
    action text not null,
    decision text not null,
    entity text not null,
    created integer not null,
    payload text not null,
    attempts integer not null,
    due integer
) strict;
create index orders_by_tick on orders (tick);
create index orders_open on orders (created, id) where due is not null;
create index orders_waiting on orders (action, entity, id) where due is not null;
create table receipt (
    seq integer primary key,
    key text not null,
    attempt integer not null,
    outcome text not null,
    detail text not null,
    at integer not null,
    due integer not null,
    unique (key, attempt)
) strict;
create table checkpoint (
    tick integer primary key,
    "offset" integer not null,
    length integer not null,
    sha256 blob not null
) strict;
create table checkpoint_part (
    tick integer not null,
    part integer not null,
    body blob not null,
    primary key (tick, part)
) strict;

-- name: add_link
insert into link values (?, ?, ?, ?, ?);

-- name: add_step
-- Counts are totals up to and with this step.
insert into step values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: add_entity
insert or ignore into entity values (?);

-- name: add_health
insert into health values (null, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: add_decision
insert into decision values (null, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: add_order
-- A new order is due at once.
insert into orders values (null, ?, ?, ?, ?, ?, ?, ?, 0, 0);

-- name: add_receipt
insert into receipt values (?, ?, ?, ?, ?, ?, ?);

-- name: move_order
-- After an attempt: how many there were, and when the next is due (null: never).
update orders set attempts = ?, due = ? where key = ?;

-- name: last_link
select seq, kind, at, body, hash from link order by seq desc limit 1;

-- name: link
select seq, kind, at, body, hash from link where seq = ?;

-- name: links
select seq, kind, at, body, hash from link where seq > ? order by seq limit ?;

-- name: step_at
-- The newest step up to a time, with the totals of all steps up to it.
select * from step where tick <= ? order by tick desc limit 1;

-- name: step
select * from step where tick = ?;

-- name: step_before
select accepted, rejected, scored, duplicate, late from step where tick < ?
order by tick desc limit 1;

-- name: step_body
select link.body from step join link on link.seq = step.seq where step.tick = ?;

-- name: health_of_tick
select entity, time, health, state, coverage, score, contributions from health
where tick = ? order by id;

-- name: decisions_of_tick
select key, policy, version, entity, phase, at, severity, health, reason, outcome, trace
from decision where tick = ? order by id;

-- name: orders_of_tick
select key, action, decision, entity, created, payload from orders where tick = ? order by id;

-- name: receipt_of_link
select key, attempt, outcome, detail, at, due from receipt where seq = ?;

-- name: rows
select (select count(*) from step), (select count(*) from health),
    (select count(*) from decision), (select count(*) from orders), (select count(*) from receipt);

-- name: odd_order
-- An order that does not stand where its last receipt left it.
select o.key from orders o left join receipt r
on r.key = o.key and r.attempt = (select max(attempt) from receipt where key = o.key)
where o.attempts is not coalesce(r.attempt, 0)
or o.due is not (case when r.key is null then 0 when r.outcome = 'retry' then r.due end)
limit 1;

-- name: odd_receipt
-- A receipt of no order.
select key from receipt where key not in (select key from orders) limit 1;

-- name: odd_entity
-- An entity without health, or health without its entity.
select name from entity where not exists (select 1 from health where entity = name)
union all
select entity from (select distinct entity from health)
where entity not in (select name from entity) limit 1;

-- name: outbox
-- Of each action by itself, so that one with many orders leaves room for the others.
select key, action, decision, entity, created, payload, attempts from (
    select *, row_number() over (partition by action order by created, id) as place
    from orders as mine
    where due is not null and due <= ? and not exists (
        select 1 from orders as older where older.due is not null and older.action = mine.action
        and older.entity = mine.entity and older.id < mine.id
    )
) where place <= ? order by created, id;

-- name: owed
select count(*), min(created) from orders where due is not null;

-- name: given_up
select count(*) from receipt where outcome in ('refused', 'dead');

-- name: attempts
select attempts from orders where key = ?;

-- name: orders
select o.key, o.action, o.decision, o.entity, o.created, o.payload,
    r.key, r.attempt, r.outcome, r.detail, r.at, r.due
from orders o left join receipt r on r.key = o.key and r.attempt = o.attempts
order by o.id desc limit ?;

-- name: order
select key, action, decision, entity, created, payload from orders where key = ?;

-- name: orders_of
select key, action, decision, entity, created, payload from orders where decision = ? order by id;

-- name: receipts
select key, attempt, outcome, detail, at, due from receipt where key = ? order by attempt;

-- name: decision
select key, policy, version, entity, phase, at, severity, health, reason, outcome, trace
from decision where key = ?;

-- name: decisions
select key, policy, version, entity, phase, at, severity, health, reason, outcome, trace
from decision where at <= ? order by at desc, id desc limit ?;

-- name: decisions_of_entity
select key, policy, version, entity, phase, at, severity, health, reason, outcome, trace
from decision where entity = ? and at <= ? order by at desc, id desc limit ?;

-- name: health
-- The newest assessment of each entity at or before a time.
select h.entity, h.time, h.health, h.state, h.coverage, h.score, h.contributions
from entity e join health h on h.entity = e.name
and h.time = (select max(time) from health where entity = e.name and time <= ?)
order by h.entity;

-- name: history
select entity, time, health, state, coverage, score, contributions from health
where entity = ? and time between ? and ? order by time;

-- name: histories
-- By entity and time: the index gives that order, so nothing is sorted.
select entity, time, health, state, coverage, score, contributions from health
where entity in (select name from entity) and time between ?1 and ?2 and ?3 order by entity, time;

-- name: all_lowest
select entity, time, min(health), state, coverage, score, contributions from health
where entity in (select name from entity) and time between ?1 and ?2
group by entity, time / ?3 order by entity, time;

-- name: changes
select entity, time, health, state, coverage, score, contributions from health
where tick > ? order by id;

-- name: lowest
-- SQLite takes the other columns from the row that `min` found.
select entity, time, min(health), state, coverage, score, contributions from health
where entity = ?1 and time between ?2 and ?3 group by time / ?4 order by time;

-- name: unwell_since
select min(time) from health where entity = ?1 and time > coalesce(
    (select max(time) from health where entity = ?1 and state = 'ok'), -1);

-- name: add_checkpoint
insert or replace into checkpoint values (?, ?, ?, ?);

-- name: add_part
insert or replace into checkpoint_part values (?, ?, ?);

-- name: drop_checkpoints
-- This one, if it is there already, and all but the newest two others.
delete from checkpoint where tick = ?1
or tick not in (select tick from checkpoint where tick <> ?1 order by tick desc limit 2);

-- name: drop_parts_of
delete from checkpoint_part where tick = ?;

-- name: drop_parts
-- Two parts of no checkpoint, beside the one being written: whoever adds one makes room for one.
delete from checkpoint_part where rowid in (
    select rowid from checkpoint_part
    where tick <> ? and tick not in (select tick from checkpoint) limit 2
);

-- name: checkpoints
select tick, "offset", length, sha256 from checkpoint order by tick desc;

-- name: parts
select body from checkpoint_part where tick = ? order by part;
