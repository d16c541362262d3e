-- name: schema
-- Entries in order, the new series of each, where each source stands, and one row that says how
-- much there is: a page lost from the end of a table would not show otherwise.
create table entry (
    "offset" integer primary key,
    source text not null,
    cursor text not null,
    arrived integer not null,
    first integer not null,
    n_new integer not null,
    n_samples integer not null,
    n_rejected integer not null,
    controls text not null,
    rejected blob not null,
    samples blob not null,
    checksum blob not null
) strict;
create index entry_rejected on entry ("offset") where n_rejected > 0;
create table series (
    first integer primary key,
    length integer not null,
    keys blob not null,
    checksum blob not null
) strict;
create table source (
    name text primary key,
    cursor text not null,
    "offset" integer not null,
    checksum blob not null
) strict, without rowid;
create table head (
    one integer primary key check (one = 1),
    "offset" integer not null,
    arrived integer not null,
    series integer not null,
    sources integer not null,
    checksum blob not null
) strict;

-- name: add_entry
-- One entry.
insert into entry values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: add_series
-- The new series of one entry.
insert into series values (?, ?, ?, ?);

-- name: move_source
-- Where a source stands now.
insert into source values (?, ?, ?, ?)
on conflict (name) do update
set cursor = excluded.cursor, "offset" = excluded."offset", checksum = excluded.checksum;

-- name: move_head
-- How much there is now.
insert or replace into head values (1, ?, ?, ?, ?, ?);

-- name: head
-- How much there is, and the newest entry there really is.
select "offset", arrived, series, sources, checksum,
    (select coalesce(max("offset"), 0) from entry)
from head;

-- name: sources
-- Where every source stands.
select name, cursor, "offset", checksum from source order by name;

-- name: read
-- A few entries after an offset, in order.
select * from entry where "offset" > ? order by "offset" limit ?;

-- name: first
-- The oldest entry there is.
select min("offset") from entry;

-- name: size
-- Bytes of the entries in a range; those of samples are not read for it.
select coalesce(sum(length(controls) + length(rejected) + length(samples)), 0)
from entry where "offset" > ? and "offset" <= ?;

-- name: cut
-- Remove the entries up to one. Series stay: their numbers are told once.
delete from entry where "offset" <= ?;

-- name: read_rejected
-- A few entries after an offset that hold rejected samples, in order.
select * from entry where "offset" > ? and n_rejected > 0 order by "offset" limit ?;

-- name: read_controls
-- What is no telemetry after an offset, where a text is in it, in order. Samples are not touched.
select arrived, controls from entry where "offset" > ? and instr(controls, ?) > 0
order by "offset";

-- name: newest_rejected
-- The first of the newest few entries after an offset that hold rejected samples.
select min("offset") from (
    select "offset" from entry where "offset" > ? and n_rejected > 0
    order by "offset" desc limit ?
);

-- name: block
-- The new series of one entry.
select first, length, keys, checksum from series where first = ?;

-- name: blocks
-- A few blocks of series, from the one that holds a number, in order.
select first, length, keys, checksum from series
where first >= coalesce((select max(first) from series where first <= ?1), 0)
order by first limit ?2;
