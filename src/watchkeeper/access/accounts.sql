-- name: schema
-- People, tokens, and what happened to them and through them. No secret is in here: of a token its
-- SHA-256, of a password its argon2id hash.
create table person (
    name text primary key,
    role text not null,
    password text not null,
    created integer not null,
    changed integer not null
) strict, without rowid;
create table token (
    id text primary key,
    name text not null,
    role text not null,
    maker text not null,
    digest blob not null,
    before blob not null,
    before_until integer not null,
    created integer not null,
    expires integer,
    used integer,
    revoked integer
) strict, without rowid;
create table event (
    number integer primary key,
    at integer not null,
    who text not null,
    origin text not null,
    action text not null,
    outcome text not null,
    detail text not null,
    link integer
) strict;
create index event_unlinked on event (number) where link is null;

-- name: people
select name, role, password, created, changed from person order by name;

-- name: put_person
insert or replace into person values (?, ?, ?, ?, ?);

-- name: drop_person
delete from person where name = ?;

-- name: tokens
select id, name, role, maker, digest, before, before_until, created, expires, used, revoked
from token order by created, id;

-- name: put_token
insert or replace into token values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: use_token
update token set used = max(coalesce(used, 0), ?) where id = ?;

-- name: add_event
insert into event values (null, ?, ?, ?, ?, ?, ?, null) returning number;

-- name: link_event
update event set link = ? where number = ?;

-- name: unlink_events
update event set link = null where link is not null;

-- name: unlinked
select number, at, who, origin, action, outcome, detail, link from event
where link is null order by number limit ?;

-- name: newest_link
select coalesce(max(link), 0) from event;

-- name: events
select number, at, who, origin, action, outcome, detail, link from event
where number < ?1 and (?2 = '' or who = ?2) and (?3 = '' or action = ?3)
and (?4 = '' or outcome = ?4) and at >= ?5 order by number desc limit ?6;
