-- The differential corpus: each statement is asked of the gateway and of plain DuckDB over the
-- same permitted, masked rows. `class` holds until the next; `who`, and the values `with`, for one
-- statement.

-- class: joins across sources
select f.carrier, a.name, count(*) as n from operations.departures.flights f join network.reference.airlines a on f.carrier = a.carrier group by f.carrier, a.name;
select f.flight_id, p.manufacturer, p.model from operations.departures f join fleet.aircraft p on f.tailnum = p.tailnum where f.distance > 2000;
select p.manufacturer, count(*) n, avg(f.dep_delay) from operations.departures f join fleet.aircraft p using (tailnum) group by all;
select f.flight_id, w.temp, w.visib from operations.departures f join weather.observations w on f.origin = w.origin and f.time_hour = w.time_hour where w.visib < 2;
select w.origin, round(avg(f.dep_delay), 6) as delay from operations.departures.flights f join weather.observations.hourly w on f.origin = w.origin and f.time_hour = w.time_hour where w.wind_speed > 25 group by w.origin;
select f.carrier, al.name, ap.name, p.seats from operations.departures f join network.reference.airlines al on al.carrier = f.carrier join network.reference.airports ap on ap.faa = f.dest join fleet.aircraft p on p.tailnum = f.tailnum where f.dep_delay > 200;
select f.flight_id, al.name, ap.name, p.engines, w.temp from operations.departures f join network.reference.airlines al on al.carrier = f.carrier join network.reference.airports ap on ap.faa = f.dest join fleet.aircraft p on p.tailnum = f.tailnum join weather.observations w on w.origin = f.origin and w.time_hour = f.time_hour where f.arr_delay > 150;
select count(*) from operations.departures f, network.reference.airports a where f.dest = a.faa and a.alt > 5000;
select a.tzone, sum(f.distance) from operations.departures f join network.reference a on a.faa = f.dest group by a.tzone;
select distinct p.engine, al.name from fleet.aircraft p join operations.departures f on f.tailnum = p.tailnum join network.reference.airlines al using (carrier);
-- who: mara petra
select m.tier, count(*) n, sum(t.fare) total from loyalty.members m join loyalty.trips t on m.member_id = t.member_id group by m.tier;
-- who: mara petra
select m.member_id, f.carrier, f.dest from loyalty.members m join loyalty.trips t using (member_id) join operations.departures f on f.flight_id = t.flight_id where t.fare > 300;
-- who: mara petra
select m.region, al.name, count(*) from loyalty.members m join loyalty.trips t on t.email = m.email join operations.departures f on f.flight_id = t.flight_id join network.reference.airlines al on al.carrier = f.carrier group by 1, 2;
-- who: mara petra
select m.tier, p.manufacturer, w.origin, al.name, sum(t.fare) from loyalty.members m join loyalty.trips t on t.member_id = m.member_id join operations.departures f on f.flight_id = t.flight_id join fleet.aircraft p on p.tailnum = f.tailnum join weather.observations w on w.origin = f.origin and w.time_hour = f.time_hour join network.reference.airlines al on al.carrier = f.carrier group by all;
select a.faa, b.faa from network.reference.airports a join network.reference.airports b on a.tzone = b.tzone and a.faa < b.faa where a.alt > 6000 and b.alt > 6000;
select f1.flight_id, f2.flight_id from operations.departures f1 join operations.departures f2 on f1.tailnum = f2.tailnum and f1.flight_id < f2.flight_id and f1.day = f2.day and f1.month = f2.month where f1.dep_delay > 120;
select f.carrier from operations.departures f semi join fleet.aircraft p on p.tailnum = f.tailnum and p.seats > 300;
select distinct f.carrier from operations.departures f anti join fleet.aircraft p on p.tailnum = f.tailnum;
select f.origin, h.temp from operations.departures f natural join weather.observations h where f.dep_delay > 180;
select al.carrier, x.n from network.reference.airlines al join (select carrier, count(*) n from operations.departures group by carrier) x on x.carrier = al.carrier where x.n > 50;

-- class: outer joins
select al.carrier, count(f.flight_id) from network.reference.airlines al left join operations.departures f on f.carrier = al.carrier group by al.carrier;
select al.name, f.flight_id from network.reference.airlines al left join operations.departures f on f.carrier = al.carrier and f.dep_delay > 240;
select f.flight_id, p.model from operations.departures f left join fleet.aircraft p on p.tailnum = f.tailnum where f.distance > 2400 and p.model is null;
select ap.faa, f.carrier from operations.departures f right join network.reference.airports ap on ap.faa = f.dest where ap.alt > 7000;
select coalesce(f.dest, ap.faa) place, count(f.flight_id) n from operations.departures f full join network.reference.airports ap on ap.faa = f.dest group by 1;
select faa, n from network.reference.airports full join (select dest as faa, count(*) n from operations.departures group by dest) using (faa) where n > 100 or alt > 7500;
select p.tailnum, f.carrier from fleet.aircraft p left join operations.departures f on p.tailnum = f.tailnum and f.origin = 'JFK' where p.seats > 350;
select f.flight_id, w.temp from operations.departures f left join weather.observations w on w.origin = f.origin and w.time_hour = f.time_hour and w.temp > 40 where f.flight_id < 400;
-- who: mara petra
select m.member_id, t.trip_id from loyalty.members m left join loyalty.trips t on t.member_id = m.member_id and t.cabin = 'first' where m.tier = 'platinum';
-- who: mara petra
select m.member_id from loyalty.members m left join loyalty.trips t on t.member_id = m.member_id where t.trip_id is null;
-- who: mara petra
select t.trip_id, f.dest from loyalty.trips t left join operations.departures f on f.flight_id = t.flight_id and f.dep_delay > 30 where t.fare > 350;
select a.carrier, b.carrier from (select distinct carrier from operations.departures where origin = 'EWR') a full outer join (select distinct carrier from operations.departures where origin = 'LGA') b on a.carrier = b.carrier;
select al.carrier, f.n, p.n from network.reference.airlines al left join (select carrier, count(*) n from operations.departures group by carrier) f on f.carrier = al.carrier left join (select f.carrier, count(distinct p.model) n from operations.departures f join fleet.aircraft p using (tailnum) group by 1) p on p.carrier = al.carrier;

-- class: common table expressions
with late as (select * from operations.departures where dep_delay > 60) select carrier, count(*) from late group by carrier;
with late as (select carrier, dest from operations.departures where dep_delay > 60), named as (select l.dest, a.name from late l join network.reference.airlines a using (carrier)) select name, count(*) n from named group by name;
with recursive n(i) as (select 1 union all select i + 1 from n where i < 12) select n.i, count(f.flight_id) from n left join operations.departures f on f.month = n.i group by n.i;
with flights as (select 1 as x) select x from flights;
with planes as (select tailnum, seats from fleet.aircraft.planes where seats > 200) select count(*), max(seats) from planes;
with a as (select carrier, avg(arr_delay) d from operations.departures group by carrier), b as (select max(d) top from a) select a.carrier from a, b where a.d = b.top;
with d as (select dest, count(*) n from operations.departures group by dest) select d.dest, ap.name, d.n from d join network.reference.airports ap on ap.faa = d.dest where d.n >= 200;
with x as (select tailnum from operations.departures where dep_delay > 100), y as (select tailnum from x union select tailnum from x) select count(*) from y;
-- who: mara petra
with spend as (select member_id, sum(fare) s from loyalty.trips group by member_id) select m.tier, avg(s.s) from loyalty.members m join spend s using (member_id) group by m.tier;
with w as (select origin, time_hour, wind_gust from weather.observations where wind_gust is not null) select f.carrier, max(w.wind_gust) from operations.departures f join w on w.origin = f.origin and w.time_hour = f.time_hour group by f.carrier;
with a as (select 1 as one), b as (select one + 1 as two from a) select one, two, (select count(*) from operations.departures where month = one) from a, b;
with f as materialized (select carrier, origin, count(*) n from operations.departures group by all) select origin, max(n) from f group by origin;

-- class: windows
select carrier, dep_delay, row_number() over (partition by carrier order by dep_delay desc nulls last, flight_id) r from operations.departures qualify r <= 3;
select flight_id, dep_delay - avg(dep_delay) over (partition by origin) diff from operations.departures where flight_id < 300;
select carrier, n, rank() over (order by n desc) from (select carrier, count(*) n from operations.departures group by carrier);
select origin, month, day, count(*) n, sum(count(*)) over (partition by origin order by month, day) running from operations.departures group by origin, month, day;
select flight_id, lag(dep_time) over (partition by tailnum order by flight_id) previous from operations.departures where tailnum is not null and day < 3;
select faa, alt, ntile(4) over (order by alt, faa) q from network.reference.airports where alt > 4000;
select origin, time_hour, temp, temp - lead(temp) over w as change from weather.observations window w as (partition by origin order by time_hour) order by origin, time_hour limit 50;
select carrier, first_value(dest) over (partition by carrier order by flight_id) f, last_value(dest) over (partition by carrier order by flight_id rows between unbounded preceding and unbounded following) l from operations.departures where flight_id < 200;
select manufacturer, seats, dense_rank() over (partition by manufacturer order by seats) from fleet.aircraft where seats > 250;
-- who: mara petra
select member_id, spend, percent_rank() over (order by spend, member_id) p from loyalty.members where tier = 'gold';
-- who: mara petra
select t.region, t.fare, sum(t.fare) over (partition by t.region order by t.trip_id rows 2 preceding) from loyalty.trips t where t.fare > 200;
select carrier, count(*) c, count(*) * 1.0 / sum(count(*)) over () share from operations.departures group by carrier;
select distinct on (carrier) carrier, flight_id, arr_delay from operations.departures order by carrier, arr_delay desc nulls last, flight_id;

-- class: correlated sub-queries
select al.carrier, (select count(*) from operations.departures f where f.carrier = al.carrier) n from network.reference.airlines al;
select ap.faa from network.reference.airports ap where exists (select 1 from operations.departures f where f.dest = ap.faa and f.dep_delay > 150);
select p.tailnum, p.seats from fleet.aircraft p where not exists (select 1 from operations.departures f where f.tailnum = p.tailnum) and p.year > 2010;
select f.flight_id from operations.departures f where f.arr_delay > (select avg(g.arr_delay) + 100 from operations.departures g where g.carrier = f.carrier);
select f.carrier, f.dest from operations.departures f where f.distance = (select max(g.distance) from operations.departures g where g.origin = f.origin);
select al.name, (select max(p.seats) from operations.departures f join fleet.aircraft p on p.tailnum = f.tailnum where f.carrier = al.carrier) from network.reference.airlines al;
select f.flight_id from operations.departures f where f.tailnum in (select p.tailnum from fleet.aircraft p where p.engines = 4);
select count(*) from operations.departures f where (f.origin, f.time_hour) in (select w.origin, w.time_hour from weather.observations w where w.precip > 0);
select f.origin, f.time_hour from operations.departures f where f.dep_delay >= all (select g.dep_delay from operations.departures g where g.origin = f.origin and g.day = f.day and g.month = f.month and g.dep_delay is not null) and f.day <= 5;
-- who: mara petra
select m.member_id, (select sum(t.fare) from loyalty.trips t where t.member_id = m.member_id) total from loyalty.members m where m.tier = 'platinum';
-- who: mara petra
select m.member_id from loyalty.members m where exists (select 1 from loyalty.trips t join operations.departures f on f.flight_id = t.flight_id where t.member_id = m.member_id and f.dep_delay > 60);
select ap.name, x.n from network.reference.airports ap, lateral (select count(*) n from operations.departures f where f.dest = ap.faa) x where x.n > 300;

-- class: set operations
select carrier from operations.departures union select carrier from network.reference.airlines;
select dest from operations.departures union all select faa from network.reference.airports where alt > 7000;
select faa from network.reference.airports except select dest from operations.departures;
select dest from operations.departures intersect select faa from network.reference.airports;
select tailnum from operations.departures except select tailnum from fleet.aircraft;
select origin, 'departures' kind, count(*) n from operations.departures group by origin union all select origin, 'weather', count(*) from weather.observations group by origin;
select carrier from operations.departures where dep_delay > 100 union select carrier from operations.departures where arr_delay > 120;
(select carrier from operations.departures where origin = 'EWR' except select carrier from operations.departures where origin = 'JFK') union select 'ZZ';
select month, day from operations.departures where cast(dep_delay as integer) > 200 intersect select month, day from weather.observations where visib < 5;
select origin, month from operations.departures intersect all select origin, month from weather.observations;
-- who: mara petra
select email from loyalty.members union select email from loyalty.trips;
-- who: mara petra
select email from loyalty.members except select email from loyalty.trips;
select x, count(*) from (select origin x from operations.departures union all select origin from weather.observations) group by x;

-- class: dates and zones
select cast(time_hour as date) d, count(*) from operations.departures group by 1;
select date_trunc('month', time_hour) m, count(*) from operations.departures group by m;
select extract(hour from time_hour) h, avg(dep_delay) from operations.departures group by h;
select flight_id from operations.departures where time_hour >= '2013-01-03 12:00:00+00' and time_hour < '2013-01-03 15:00:00+00';
select count(*) from operations.departures where time_hour between timestamptz '2013-01-02 00:00:00+00' and timestamptz '2013-02-10 00:00:00+00';
select flight_id, time_hour + interval 2 hour as later from operations.departures where flight_id <= 20;
select flight_id, make_date(year, month, day) d from operations.departures where flight_id <= 60;
select dayname(make_date(year, month, day)) weekday, count(*) n from operations.departures group by 1;
select origin, max(time_hour), min(time_hour) from weather.observations group by origin;
select date_diff('hour', min(time_hour), max(time_hour)) from weather.observations;
select strftime(time_hour, '%Y-%m-%d %H') h, count(*) from operations.departures where carrier = 'UA' group by 1;
-- who: mara petra
select member_id, birth_date from loyalty.members where birth_date < '1960-01-01';
-- who: mara petra
select extract(year from birth_date) y, count(*) from loyalty.members group by y;
-- who: mara petra
select date_trunc('month', booked_at) b, sum(fare) from loyalty.trips group by b;
-- who: mara petra
select joined_at at time zone 'America/New_York' local from loyalty.members where member_id < 200;
select time_hour at time zone 'America/New_York' as local, count(*) from operations.departures where day = 1 group by 1;
select last_day(make_date(year, month, day)), count(*) from operations.departures group by 1;

-- class: null order
select flight_id, dep_delay from operations.departures where day = 1 order by dep_delay, flight_id limit 40;
select flight_id, dep_delay from operations.departures where day = 1 order by dep_delay desc, flight_id limit 40;
select flight_id, arr_delay from operations.departures order by arr_delay nulls first, flight_id limit 40;
select flight_id, tailnum from operations.departures order by tailnum desc nulls last, flight_id limit 40;
select tailnum, year from fleet.aircraft order by year nulls first, tailnum limit 30;
select tailnum, speed from fleet.aircraft order by speed desc nulls last, tailnum limit 30;
select origin, wind_gust, time_hour from weather.observations order by wind_gust desc nulls first, origin, time_hour limit 30;
-- who: mara petra
select member_id, phone from loyalty.members order by phone nulls first, member_id limit 60;
-- who: mara petra
select member_id, birth_date from loyalty.members order by birth_date desc, member_id limit 30;
select carrier, count(dep_delay), count(*), sum(dep_delay), min(dep_delay) from operations.departures group by carrier order by min(dep_delay) nulls last, carrier;
select dep_delay is null as missing, count(*) from operations.departures group by missing order by missing;
select coalesce(dep_delay, -999) d, flight_id from operations.departures where flight_id < 2000 order by d, flight_id limit 20;

-- class: like and case
select name from network.reference.airports where name like '%International%' and alt > 1000;
select name from network.reference.airlines where name ilike '%air%';
select distinct tailnum from operations.departures where tailnum like 'N1%' or tailnum like 'p_a%';
select model from fleet.aircraft where model like 'A3_0%' group by model;
select name from network.reference.airports where name like '%\_%' escape '\';
select case when dep_delay > 60 then 'late' when dep_delay > 0 then 'some' when dep_delay is null then 'none' else 'early' end as kind, count(*) from operations.departures group by kind;
select carrier, sum(case when arr_delay > 30 then 1 else 0 end) late, count(*) n from operations.departures group by carrier;
select carrier, count(*) filter (where dep_delay > 30) late from operations.departures group by carrier;
select upper(name) u, lower(name) l, length(name) from network.reference.airlines;
select name from network.reference.airports where regexp_matches(name, '^[AB].*Intl$');
-- who: mara petra
select email like 'p_%' as masked, count(*) from loyalty.members group by 1;
-- who: mara petra
select phone from loyalty.members where phone like '%1' order by phone, member_id limit 30;
-- who: mara petra
select case tier when 'platinum' then 1 when 'gold' then 2 else 3 end rank, name is null as anonymous, count(*) from loyalty.members group by all;
select nullif(origin, 'JFK') o, count(*) from operations.departures group by o;
select if(distance > 1000, 'far', 'near') d, count(*) from operations.departures group by d;
select carrier from network.reference.airlines where carrier in ('UA', 'DL', 'ua', 'zz');
select carrier, name from network.reference.airlines where carrier > 'MZ' order by carrier;

-- class: decimals
-- who: mara petra
select sum(spend), avg(spend), min(spend), max(spend) from loyalty.members;
-- who: mara petra
select tier, sum(spend) from loyalty.members group by tier having sum(spend) > 1000;
-- who: mara petra
select member_id, spend * 2 as twice from loyalty.members where spend > 4000;
-- who: mara petra
select member_id, spend / 3 from loyalty.members where spend < 100;
-- who: mara petra
select spend from loyalty.members where spend = 0 or spend > 4900.50;
-- who: mara petra
select trip_id, fare, round(fare, 0), cast(fare as integer) from loyalty.trips where fare > 350;
-- who: mara petra
select cabin, sum(fare) - sum(fare * 0.19) net from loyalty.trips group by cabin;
-- who: mara petra
select count(*) from loyalty.trips where fare between 100.00 and 200.00;
-- who: mara petra
select m.tier, sum(t.fare), sum(m.spend) from loyalty.members m join loyalty.trips t on t.member_id = m.member_id group by m.tier;
-- who: mara petra
select cast(spend as varchar) s from loyalty.members where spend > 4800;
-- who: mara petra
select greatest(spend, 100.00), least(spend, 5000) from loyalty.members where member_id < 50;
-- who: mara petra
select spend % 7, -spend, abs(spend - 500) from loyalty.members where member_id < 40;
-- who: mara petra
select fare from loyalty.trips order by fare desc, trip_id limit 10;

-- class: empty results
select * from operations.departures where carrier = 'XX';
select flight_id, tailnum from operations.departures where dep_delay > 100000;
select count(*), sum(distance), avg(dep_delay) from operations.departures where origin = 'nowhere';
select p.* from fleet.aircraft p where seats < 0;
select f.carrier, a.name from operations.departures f join network.reference.airlines a on a.carrier = f.dest;
select * from weather.observations where temp > 1000;
select carrier from operations.departures where false;
select faa from network.reference.airports where faa is null;
select carrier, count(*) from operations.departures where month = 13 group by carrier;
-- who: mara petra
select * from loyalty.members where region = 'mars';
-- who: mara petra
select t.* from loyalty.trips t join loyalty.members m on m.member_id = t.member_id and m.tier = 'none';
select carrier from operations.departures limit 0;

-- class: aggregates
select count(*) from operations.departures;
select count(distinct tailnum), count(tailnum), count(*) from operations.departures;
select origin, dest, count(*) n, min(distance), max(distance) from operations.departures group by origin, dest having count(*) > 100;
select sum(distance), avg(distance), sum(dep_delay), avg(arr_delay) from operations.departures;
select carrier, median(dep_delay), stddev_samp(dep_delay) from operations.departures group by carrier;
select origin, month, sum(distance) from operations.departures group by rollup (origin, month);
select origin, carrier, count(*) from operations.departures group by grouping sets ((origin), (carrier), ());
select string_agg(carrier, ',' order by carrier) from network.reference.airlines;
select list(carrier order by carrier) from network.reference.airlines where carrier < 'D';
select bool_and(distance > 0), bool_or(dep_delay > 500) from operations.departures;
select max(carrier), min(dest), max(tailnum) from operations.departures;
select quantile_cont(distance, 0.5) from operations.departures;
select corr(dep_delay, arr_delay) from operations.departures;
select type, engines, count(*) from fleet.aircraft group by all;
select avg(seats), sum(seats), min(year) from fleet.aircraft;
select origin, avg(temp), max(wind_speed), count(wind_gust) from weather.observations group by origin;
select any_value(1), count(*) from operations.departures group by true;
select distinct origin, carrier from operations.departures;
select distinct year, month, day from operations.departures where dep_delay > 180;

-- class: stars and names
select * from network.reference.airlines;
select * exclude (name) from network.reference.airports where alt > 8000;
select f.* from operations.departures f where f.flight_id < 30;
select * from operations.departures.flights where flight_id between 100 and 120;
select flights.carrier, departures.flights.dest, operations.departures.flights.origin from operations.departures.flights where flight_id < 15;
from network.reference.airlines select name where carrier < 'B';
from network.reference.airlines;
select sum(distance), count(*), max(dep_delay) + 1, -min(distance) from operations.departures;
select "f"."CARRIER", F.Dest from OPERATIONS.Departures.FLIGHTS as F where F.flight_id = 5;
select columns('^dep') from operations.departures where flight_id < 10;
select * replace (upper(name) as name) from network.reference.airlines;
select 1 as a, 2 as b, 'x' || 'y', null;
values (1, 'a'), (2, null);
select x, x * 2 from (values (1), (2), (3)) t(x);
select unnest([1, 2, 3]) u;
select range from range(5);
select carrier, {'n': count(*), 'd': max(distance)} s from operations.departures group by carrier;
select s.n from (select {'n': flight_id} s from operations.departures where flight_id < 9);
select list_transform([1, 2, 3], lambda x: x + 1) l;
-- who: mara petra
select * from loyalty.members where member_id < 100;
-- who: mara petra
select * from loyalty.trips where trip_id < 100;
with planes as (select p.seats from fleet.aircraft.planes p where p.seats > 100) select count(*), max(seats) from planes;
with planes as (select 1 as one), flights as (select p.engines from fleet.aircraft.planes p) select f.engines, count(*) from flights f cross join planes group by f.engines;
with airlines as (select 'zz' as carrier) select q.carrier from (select y.carrier from airlines y cross join network.reference.airports a where exists (with airlines as (select 2 as k) select k from airlines)) q, (select 1 from fleet.aircraft.planes limit 1) x limit 2;
with planes as (select 'zz' as model) select q.model from (select y.model from planes y cross join fleet.aircraft.planes p where exists (with planes as (select p2.seats as k from fleet.aircraft.planes p2) select k from planes)) q, (select 1 from network.reference.airlines limit 1) x limit 2;
select count(*) from (select unnest(case when p.year > 1990 then [] else [1] end) u from fleet.aircraft.planes p limit 3);
select count(*) from (select unnest(case when w.month = 1 then [] else [1, 2] end) u from weather.observations.hourly w limit 5);

-- class: parameters
-- with: 17
select flight_id, dest, dep_delay from operations.departures where flight_id = ?;
-- with: 18
select flight_id, dest, dep_delay from operations.departures where flight_id = ?;
-- with: 1000000000000
select flight_id, dest, dep_delay from operations.departures where flight_id = ?;
-- with: 17.5
select flight_id, dest, dep_delay from operations.departures where flight_id = ?;
-- with: null
select flight_id, dest, dep_delay from operations.departures where flight_id = ?;
-- with: 1000
select case when distance > $1 then 'far' else 'near' end as k, count(*) as n from operations.departures group by case when distance > $1 then 'far' else 'near' end order by k;
-- with: 1000
select distinct case when distance > $1 then 1 else 2 end as k from operations.departures order by case when distance > $1 then 1 else 2 end;
-- with: 1000, 3
select case when alt > $1 then 'high' else 'low' end as k, count(*) as n from network.reference.airports group by case when alt > $1 then 'high' else 'low' end having count(*) > $2 order by k;
-- with: 'JFK'
select carrier, count(*), avg(dep_delay), sum(case when dep_delay > 30 then 1 else 0 end) from operations.departures where origin = ? group by carrier;
-- with: 'EWR', 2
select dest, count(*) n from operations.departures where origin = $1 and month = $2 group by dest having count(*) > $2 order by n desc, dest limit 5;
-- with: timestamptz '2013-02-01 00:00:00+00', timestamptz '2013-03-01 00:00:00-05', 3
select origin, count(*) from operations.departures where time_hour between ? and ? group by origin having count(*) > ?;
-- with: 10, 4
select faa, alt from network.reference where alt > $1 order by alt desc, faa limit $2 offset $1;
-- with: 2.5
select faa, alt * ? as x from network.reference where alt > 7000;
-- with: 2
select faa, alt * ? as x from network.reference where alt > 7000;
-- with: 300
select manufacturer, count(*), max(seats) from fleet.aircraft where seats >= ? group by manufacturer;
-- with: 'JFK', 80
select month, avg(temp), count(*) from weather.observations where origin = ? and temp > ? group by month;
-- who: mara petra
-- with: 350.50::decimal(12, 2)
select m.tier, count(*) n, sum(t.fare) from loyalty.members m join loyalty.trips t using (member_id) where t.fare > ? group by m.tier;
-- who: mara petra
-- with: date '1960-01-01', 'gold', 'silver'
select member_id, birth_date, tier from loyalty.members where birth_date < ? and tier in (?, ?);
-- who: mara petra
-- with: date '1955-06-15'
select count(*) from loyalty.members where birth_date > ?;
-- with: 60, 'UA'
select f.flight_id, al.name, p.model from operations.departures f join network.reference.airlines al using (carrier) left join fleet.aircraft p on p.tailnum = f.tailnum where f.dep_delay > ? and al.carrier = ?;
-- with: 'A%', 'x'
select name, $2 as label, name || $2 as both from network.reference.airlines where name like $1;
-- with: 3
select (select count(*) from operations.departures f where f.carrier = a.carrier and f.month <= ?) n, a.carrier from network.reference.airlines a;
-- with: false
select carrier from network.reference.airlines where (carrier = 'UA') = ?;

-- class: unread columns
select ap.faa from network.reference.airports ap where exists (select * from operations.departures f where f.dest = ap.faa and f.dep_delay > 150);
select p.tailnum from fleet.aircraft p where not exists (select f.*, p.year from operations.departures f where f.tailnum = p.tailnum) and p.year > 2010;
select x.carrier, a.name from (select * from operations.departures) x join network.reference.airlines a on a.carrier = x.carrier where x.distance > 2400;
select count(*) from (select * from operations.departures) x, (select * from network.reference.airlines) a where a.carrier = x.carrier;
select y.origin, max(y.temp) from (select x.* from (select w.*, f.dep_delay from weather.observations w join operations.departures f on f.origin = w.origin and f.time_hour = w.time_hour) x where x.dep_delay > 100) y group by y.origin;
with d as (select * from operations.departures), n as (select d.*, a.name from d join network.reference.airlines a using (carrier)) select n.name, count(*) from n where n.month < 3 group by n.name;
with d as (select * from operations.departures) select a.carrier, b.dest, count(*) from d a join d b on a.flight_id = b.flight_id join network.reference.airlines al on al.carrier = a.carrier group by 1, 2;
select x.carrier from (select distinct carrier, dest from operations.departures) x join network.reference.airlines a on a.carrier = x.carrier;
select x.carrier from (select carrier, dest from operations.departures union select carrier, name from network.reference.airlines) x;
select q.c from (select carrier, dest from operations.departures) as q(c, d) join network.reference.airports a on a.faa = q.d where a.alt > 4000;
select x.faa, y.faa from network.reference.airports x join network.reference.airports y on x.tzone = y.tzone and x.alt < y.alt, fleet.aircraft p where x.alt > 6000 and y.alt > 6500 and p.seats > 440;
select f.flight_id, g.flight_id from operations.departures f join operations.departures g on f.tailnum = g.tailnum and g.flight_id > f.flight_id join network.reference.airports a on a.faa = g.dest where f.dep_delay > 150 and g.dep_delay > 150;
select f.carrier, count(*) from operations.departures f join network.reference.airlines a on a.carrier = f.carrier where f.distance > (select avg(g.distance) from operations.departures g where g.carrier = f.carrier) group by f.carrier;
-- with: 3, 3
select f.carrier, count(*) from operations.departures f, network.reference.airlines a where f.day = $1 and a.carrier = f.carrier and a.carrier in (select g.carrier from operations.departures g, network.reference.airlines b where g.day = $2 and b.carrier = g.carrier) group by f.carrier;
-- with: 3, 4
select f.carrier, count(*) from operations.departures f, network.reference.airlines a where f.day = $1 and a.carrier = f.carrier and a.carrier in (select g.carrier from operations.departures g, network.reference.airlines b where g.day = $2 and b.carrier = g.carrier) group by f.carrier;
-- who: mara petra
select count(*) from loyalty.members m join (select * from loyalty.members) n on m.member_id = n.member_id, network.reference.airlines a where n.region = m.region and a.carrier = 'UA';
-- who: mara petra
select m.member_id, t.n from loyalty.members m, lateral (select count(*) n from loyalty.trips t where t.member_id = m.member_id) t where exists (select * from loyalty.trips z where z.email = m.email);

-- class: aggregates
select p.tailnum from fleet.aircraft p where p.seats = (select max(q.seats) from fleet.aircraft q);
select p.engine, count(*) n from fleet.aircraft p group by p.engine having count(*) > (select min(q.engines) from fleet.aircraft q);
select a.faa from network.reference.airports a where a.alt >= (select max(b.alt) from network.reference.airports b where b.faa = 'none such');
select f.flight_id from operations.departures f where f.distance > (select max(p.seats) * 10 from fleet.aircraft p) and f.month = 1;
-- who: mara petra
select m.member_id from loyalty.members m where m.spend <> (select min(o.spend) from loyalty.members o where o.spend is null);
-- who: mara petra
select m.member_id from loyalty.members m where m.spend < (select sum(o.spend) from loyalty.members o);

-- class: decimals
-- who: mara petra
select m.tier, sum(case when m.region = 'north' then m.spend else 0 end) / sum(m.spend) x, 100.00 * sum(m.spend) / count(*) y from loyalty.members m group by m.tier;
-- who: mara petra
select m.member_id from loyalty.members m where m.spend > (select avg(o.spend) from loyalty.members o where o.tier = 'gold') and m.member_id < m.spend;
-- who: mara petra
select t.trip_id, t.fare / (t.member_id - t.member_id) x from loyalty.trips t where t.fare / 7 > 60;

-- class: correlated sub-queries
-- who: mara petra
select m.member_id from loyalty.members m where m.spend < (select 3 * sum(t.fare) from loyalty.trips t where t.flight_id = m.member_id) or m.member_id < (select count(*) from loyalty.trips t where t.flight_id = m.member_id);
