-- What chains of joins get wrong, written out; a statement a line. The tables are those of places.py.
-- The order of outer joins matters.
select a.id x, c.id y, e.id z from north.a a left join south.c c on a.k = c.k left join east.e e on c.k = e.k;
select a.id x, c.id y, e.id z from north.a a left join (south.c c join east.e e on c.k = e.k) on a.k = c.k;
select a.id x, c.id y, e.id z from north.a a join south.c c on a.k = c.k full join east.e e on e.k = a.k;
select a.id x, c.id y, e.id z from (north.a a full join south.c c on a.k = c.k) left join east.e e on e.k = coalesce(a.k, c.k);
select a.id x, b.id y, c.id z from north.a a right join north.b b on a.k = b.k right join south.c c on b.k = c.k;
select a.id x, b.id y, g.id z from north.a a full join north.b b on a.k = b.k full join west.g g on g.k = b.k;
-- A predicate in ON is no predicate in WHERE.
select a.id x, c.id y from north.a a left join south.c c on a.k = c.k and a.v > 0;
select a.id x, c.id y from north.a a left join south.c c on a.k = c.k and c.v > 0;
select a.id x, c.id y from north.a a left join south.c c on a.k = c.k where c.v > 0;
select a.id x, c.id y from north.a a left join south.c c on a.k = c.k where c.v is null;
select a.id x, c.id y from north.a a left join south.c c on a.k = c.k where coalesce(c.v, 0) = 0;
select a.id x, b.id y from north.a a right join north.b b on a.k = b.k and b.v > 0;
select a.id x, b.id y from north.a a right join north.b b on a.k = b.k where a.v is null;
select a.id x, b.id y from north.a a full join north.b b on a.k = b.k and a.v > 0 and b.v > 0;
select a.id x, b.id y from north.a a full join north.b b on a.k = b.k where a.v > 0 or b.v is null;
select e.id x, f.id y from east.e e full join east.f f on e.k = f.k where e.id is null or f.id is null;
select a.id x, c.id y from north.a a left join south.c c on true and c.v = 1;
select a.id x, c.id y from north.a a left join south.c c on false;
select a.id x, c.id y from north.a a full join south.c c on 1 = 0;
select a.id x, c.id y from north.a a left join south.c c on a.k = c.k and null;
-- Filters that make an outer join an inner one, and those that only look as if.
select a.id x, c.id y, e.id z from north.a a left join south.c c on a.k = c.k left join east.e e on e.k = c.k where e.v > 0;
select a.id x, c.id y, e.id z from north.a a left join south.c c on a.k = c.k left join east.e e on e.k = c.k where e.v > 0 or e.id is null;
select a.id x, c.id y from north.a a left join south.c c on a.k = c.k where not (c.v > 0);
select a.id x, c.id y from north.a a left join south.c c on a.k = c.k where (c.v > 0) is not true;
select a.id x, c.id y from north.a a left join south.c c on a.k = c.k where case when c.id is null then a.v > 0 else c.v > 0 end;
-- Nothing on one side.
select a.id x, d.id y from north.a a left join south.d d on a.k = d.k;
select a.id x, d.id y from north.a a join south.d d on a.k = d.k;
select a.id x, d.id y from south.d d full join north.a a on a.k = d.k;
select count(*) n from north.a a where a.k not in (select d.k from south.d d);
select count(*) n from north.a a where a.k > all (select d.k from south.d d);
select a.id x from north.a a anti join south.d d on a.k = d.k;
select a.id x, (select max(d.v) from south.d d) m, (select count(*) from south.d d) n from north.a a;
-- Keys of different types.
select b.id x, e.id y from north.b b join east.e e on b.k = e.k;
select c.id x, h.id y from south.c c join west.h h on c.k = h.k;
select f.id x, h.id y from east.f f left join west.h h on f.k = h.k;
select e.id x, h.id y, i.id z from east.e e full join west.h h on e.k = h.k full join files.i i on i.k = h.k;
select b.id x from north.b b where b.k in (select e.k from east.e e);
select e.id x from east.e e where e.k in (select b.k from north.b b);
select h.id x from west.h h where h.k not in (select i.k from files.i i where i.k is not null);
select a.id x, c.id y from north.a a join south.c c on a.s = c.k::varchar;
-- NULL keys.
select a.id x, c.id y from north.a a join south.c c on a.k is not distinct from c.k;
select a.id x from north.a a where a.k not in (select c.k from south.c c);
select a.id x from north.a a where a.k not in (select c.k from south.c c where c.k is not null);
select a.id x from north.a a where not exists (select 1 from south.c c where c.k = a.k);
select a.id x from north.a a where (a.k in (select c.k from south.c c)) is null;
select a.id x, a.k in (select c.k from south.c c) t from north.a a;
select a.id x, a.k not in (select f.k from east.f f where f.v > 0) t from north.a a;
select a.id x from north.a a where (a.k, a.s) in (select c.k, c.s from south.c c);
select a.id x from north.a a anti join south.c c on a.k = c.k and a.s = c.s;
-- Correlated sub-queries on both sides of a join.
select a.id x, c.id y from north.a a left join south.c c on a.k = c.k where exists (select 1 from east.e e where e.k = c.k);
select a.id x, c.id y from north.a a left join south.c c on a.k = c.k where not exists (select 1 from east.e e where e.k = c.k and e.v > a.v);
select a.id x, (select count(*) from south.c c where c.k = a.k) n from north.a a;
select a.id x, (select sum(c.v) from south.c c where c.k = a.k and c.s <> a.s) n from north.a a;
select a.id x, (select max(e.v) from east.e e join west.g g on e.k = g.k where g.k = a.k) m from north.a a;
select a.id x from north.a a where a.v = (select min(c.v) from south.c c where c.k = a.k or c.k is null);
select a.id x from north.a a where exists (select 1 from south.c c where c.k = a.k and exists (select 1 from east.e e where e.k = c.k and e.id <> a.id));
-- USING and NATURAL.
select k, a.id x, c.id y from north.a a left join south.c c using (k);
select k, a.id x, c.id y from north.a a right join south.c c using (k);
select k, a.id x, c.id y from north.a a full join south.c c using (k);
select k, s, a.id x, e.id y from north.a a full join east.e e using (k, s);
select k, x, y, z from (select id x, k from north.a) a full join (select id y, k from south.c) c using (k) full join (select id z, k from west.g) g using (k);
select * from (select k, s, id x from north.a) a natural join (select k, s, id y from east.e) e;
select * from (select k, s, id x from north.a) a natural full join (select k, s, id y from south.c) c;
select k, count(*) n from north.a full join south.c using (k) group by k;
select x.k, y.k from north.a x semi join south.c z using (k), east.e y where x.k = y.k;
-- The same table twice, and one source twice with another between.
select x.id i, y.id j from north.a x left join north.a y on x.k = y.v;
select a.id x, e.id y, b.id z from north.a a left join east.e e on a.k = e.k left join north.b b on b.k = e.k;
select a.id x, e.id y, b.id z from north.a a join east.e e on a.k = e.k join north.b b on b.k = a.k where b.v > 0;
select a.id x, b.id y, c.id z, e.id w from north.a a, north.b b, south.c c, east.e e where a.k = b.k and c.k = e.k and a.s = e.s;
select a.id x, b.id y from north.a a cross join (select * from south.c where id < 3) c join north.b b on b.k = c.k;
-- What is grouped, limited, distinct or a union below a join.
select a.id x, c.n from north.a a left join (select k, count(*) n from south.c group by k) c on a.k = c.k;
select a.id x, c.n from north.a a left join (select k, count(*) n from south.c group by k having count(*) > 1) c on a.k = c.k where c.n is null or c.n > 1;
select a.id x, c.id y from north.a a join (select * from south.c order by id limit 3) c on a.k = c.k;
select a.id x, u.id y from north.a a left join (select id, k from south.c union all select id, k from east.e) u on a.k = u.k;
select a.id x, u.k y from north.a a full join (select k from south.c union select k from east.e) u on a.k = u.k;
select a.id x, u.k y from north.a a left join (select k from south.c except select k from east.e) u on a.k = u.k;
select a.k, count(c.id) n, count(*) m from north.a a left join south.c c on a.k = c.k group by a.k;
select a.k, sum(c.v) n from north.a a left join south.c c on a.k = c.k and c.v > 0 group by a.k having sum(c.v) is null;
with x as (select k, max(v) v from north.a group by k) select e.id, x.v from east.e e left join x on x.k = e.k where x.v is not null or e.k is null;
with x as (select a.k, c.id from north.a a left join south.c c on a.k = c.k) select x.id i, y.id j from x left join x y on x.k = y.k;
select a.id x, l.n from north.a a cross join lateral (select count(*) n from south.c c where c.k = a.k) l;
select a.id x, l.id y from north.a a left join lateral (select c.id from south.c c where c.k = a.k and c.v > 0) l on true;
-- MariaDB among them: it takes texts for equal that are not, has no full join, and rounds keys.
select a.id x, k.id y, e.id z from north.a a left join shore.k k on a.k = k.k left join east.e e on k.k = e.k;
select a.id x, k.id y, l.id z from north.a a left join (shore.k k join shore.l l on k.k = l.k) on a.k = k.k;
select k.id x, l.id y from shore.k k full join shore.l l on k.k = l.k;
select k.id x, l.id y, c.id z from shore.k k full join shore.l l on k.k = l.k full join south.c c on c.k = coalesce(k.k, l.k);
select k.id x, l.id y from shore.k k left join shore.l l on k.s = l.s;
select k.id x, l.id y from shore.k k join shore.l l on k.k = l.k and k.s <> l.s;
select k.id x, l.id y from shore.k k right join shore.l l on k.k = l.k and k.v > 0 where k.v is null;
select k.id x, a.id y from shore.k k join north.a a on k.s = a.s;
select k.id x from shore.k k where k.s not in (select l.s from shore.l l where l.s is not null);
select k.id x from shore.k k anti join shore.l l on k.k = l.k and k.s = l.s;
select m.id x from shore.k m where not exists (select 1 from east.e e where e.k = m.k and e.s = m.s);
select l.id x, h.id y from shore.l l left join west.h h on l.k = h.k;
select n.id x, (select max(l.s) from shore.l l where l.k = n.k) m from shore.k n;
select k.s, count(*) n, count(l.id) m from shore.k k left join shore.l l on k.k = l.k group by k.s;
select k.id x, l.id y, i.id z from shore.k k join shore.l l on l.k = k.k left join files.i i on i.k = l.k where i.v is null or l.v > 0;
