-- Pairs: what the caller sends, and its bound form. Lines that begin with two dashes group them.

-- columns of one table

select * from t;
SELECT "t"."Id" AS "Id", "t"."a" AS "a", "t"."b" AS "b", "t"."s" AS "s" FROM "m"."t"."t" AS "t";

select T.ID, A as Foo, "b" from t;
SELECT "t"."Id" AS "Id", "t"."a" AS "Foo", "t"."b" AS "b" FROM "m"."t"."t" AS "t";

select t.a, t.t.a, m.t.t.b from m.t.t;
SELECT "t"."a" AS "a", "t"."a" AS "a", "t"."b" AS "b" FROM "m"."t"."t" AS "t";

select q.a from t q where q.ID > 1;
SELECT "q"."a" AS "a" FROM "m"."t"."t" AS "q" WHERE "q"."Id" > 1;

from t;
SELECT "t"."Id" AS "Id", "t"."a" AS "a", "t"."b" AS "b", "t"."s" AS "s" FROM "m"."t"."t" AS "t";

from t select a where b > 1;
SELECT "t"."a" AS "a" FROM "m"."t"."t" AS "t" WHERE "t"."b" > 1;

-- partly qualified columns over tables of one name

select s1.x.p, s2.x.p, q from s1.x, s2.x;
SELECT "x"."p" AS "p", "x_1"."p" AS "p", "x_1"."q" AS "q" FROM "m"."s1"."x" AS "x", "m"."s2"."x" AS "x_1";

-- beyond DuckDB: a star behind a longer name
select s1.x.*, x.q from s1.x join s2.x on s1.x.p = m.s2.x.p;
SELECT "x"."p" AS "p", "x_1"."q" AS "q" FROM "m"."s1"."x" AS "x" JOIN "m"."s2"."x" AS "x_1" ON "x"."p" = "x_1"."p";

-- output names

select sum(a), count(*), count(distinct b), max(a) - min(a) from t;
SELECT SUM("t"."a") AS "sum(a)", COUNT(*) AS "count_star()", COUNT(DISTINCT "t"."b") AS "count(DISTINCT b)", MAX("t"."a") - MIN("t"."a") AS "(max(a) - min(a))" FROM "m"."t"."t" AS "t";

select a::int, a + b * 2, not a = 1, s like 'x%', a is not null, a in (1, 2) from t;
SELECT CAST("t"."a" AS INT) AS "CAST(a AS INTEGER)", "t"."a" + "t"."b" * 2 AS "(a + (b * 2))", NOT "t"."a" = 1 AS "(NOT (a = 1))", "t"."s" LIKE 'x%' AS "(s ~~ 'x%')", NOT "t"."a" IS NULL AS "(a IS NOT NULL)", "t"."a" IN (1, 2) AS "(a IN (1, 2))" FROM "m"."t"."t" AS "t";

select case when a > 1 then 'x' end, coalesce(a, 0), s || 'x', -a from t;
SELECT CASE WHEN "t"."a" > 1 THEN 'x' END AS "CASE  WHEN ((a > 1)) THEN ('x') ELSE NULL END", COALESCE("t"."a", 0) AS "COALESCE(a, 0)", "t"."s" || 'x' AS "(s || 'x')", -"t"."a" AS "(-(a))" FROM "m"."t"."t" AS "t";

select row_number() over (partition by s order by a desc) from t;
SELECT ROW_NUMBER() OVER (PARTITION BY "t"."s" ORDER BY "t"."a" DESC) AS "row_number() OVER (PARTITION BY s ORDER BY a DESC)" FROM "m"."t"."t" AS "t";

select a as "Total Amount", a total from t;
SELECT "t"."a" AS "Total Amount", "t"."a" AS "total" FROM "m"."t"."t" AS "t";

select a, a from t;
SELECT "t"."a" AS "a", "t"."a" AS "a" FROM "m"."t"."t" AS "t";

select * from (select a, a, b as A from t) q;
SELECT "q"."a" AS "a", "q"."a_1" AS "a_1", "q"."A_2" AS "A_2" FROM (SELECT "t"."a" AS "a", "t"."a" AS "a_1", "t"."b" AS "A_2" FROM "m"."t"."t" AS "t") AS "q";

-- aliases

select a + 1 as x, x * 2 as y from t where y > 4;
SELECT "t"."a" + 1 AS "x", ("t"."a" + 1) * 2 AS "y" FROM "m"."t"."t" AS "t" WHERE (("t"."a" + 1) * 2) > 4;

select a + 1 as b from t where b > 50;
SELECT "t"."a" + 1 AS "b" FROM "m"."t"."t" AS "t" WHERE "t"."b" > 50;

select a as k, count(*) as n from t group by k having n > 1;
SELECT "t"."a" AS "k", COUNT(*) AS "n" FROM "m"."t"."t" AS "t" GROUP BY "t"."a" HAVING COUNT(*) > 1;

select s, sum(a) as a from t group by s having a > 1;
SELECT "t"."s" AS "s", SUM("t"."a") AS "a" FROM "m"."t"."t" AS "t" GROUP BY "t"."s" HAVING SUM("t"."a") > 1;

select -a as a, count(*) from t group by a having a < 0;
SELECT -"t"."a" AS "a", COUNT(*) AS "count_star()" FROM "m"."t"."t" AS "t" GROUP BY "t"."a" HAVING "t"."a" < 0;

select a, row_number() over (order by b) as r from t qualify r = 1;
SELECT "t"."a" AS "a", ROW_NUMBER() OVER (ORDER BY "t"."b") AS "r" FROM "m"."t"."t" AS "t" QUALIFY ROW_NUMBER() OVER (ORDER BY "t"."b") = 1;

select a as z, (select max(c) from u where u.a = z) as m from t;
SELECT "t"."a" AS "z", (SELECT MAX("u"."c") AS "max(c)" FROM "m"."u"."u" AS "u" WHERE "u"."a" = "t"."a") AS "m" FROM "m"."t"."t" AS "t";

-- ORDER BY and DISTINCT ON

select a, b as x from t order by 2 desc, a;
SELECT "t"."a" AS "a", "t"."b" AS "x" FROM "m"."t"."t" AS "t" ORDER BY "x" DESC, "a";

select -a as a from t order by a, t.a + 1;
SELECT -"t"."a" AS "a" FROM "m"."t"."t" AS "t" ORDER BY "a", "t"."a" + 1;

select a as x, b as x from t order by x;
SELECT "t"."a" AS "x", "t"."b" AS "x" FROM "m"."t"."t" AS "t" ORDER BY 2;

select a, b from t order by all desc;
SELECT "t"."a" AS "a", "t"."b" AS "b" FROM "m"."t"."t" AS "t" ORDER BY "a" DESC, "b" DESC;

select * from t order by columns('a|b');
SELECT "t"."Id" AS "Id", "t"."a" AS "a", "t"."b" AS "b", "t"."s" AS "s" FROM "m"."t"."t" AS "t" ORDER BY "t"."a", "t"."b";

select distinct on (x) a + b as x, s from t order by x, s desc nulls first;
SELECT DISTINCT ON ("x") "t"."a" + "t"."b" AS "x", "t"."s" AS "s" FROM "m"."t"."t" AS "t" ORDER BY "x", "s" DESC NULLS FIRST;

select a from t limit 2 offset 1;
SELECT "t"."a" AS "a" FROM "m"."t"."t" AS "t" LIMIT 2 OFFSET 1;

-- GROUP BY

select a, s, count(*) from t group by 1, 2;
SELECT "t"."a" AS "a", "t"."s" AS "s", COUNT(*) AS "count_star()" FROM "m"."t"."t" AS "t" GROUP BY "t"."a", "t"."s";

select s, a % 2, count(*), 'k' as k from t group by all;
SELECT "t"."s" AS "s", "t"."a" % 2 AS "(a % 2)", COUNT(*) AS "count_star()", 'k' AS "k" FROM "m"."t"."t" AS "t" GROUP BY "t"."s", "t"."a" % 2;

select 'k' as k, count(*) from t group by k;
SELECT 'k' AS "k", COUNT(*) AS "count_star()" FROM "m"."t"."t" AS "t" GROUP BY 1;

select (select max(c) from u where u.a = t.a) as m, count(*) from t group by m;
SELECT (SELECT MAX("u"."c") AS "max(c)" FROM "m"."u"."u" AS "u" WHERE "u"."a" = "t"."a") AS "m", COUNT(*) AS "count_star()" FROM "m"."t"."t" AS "t" GROUP BY 1;

select a, s, count(*), grouping(a) from t group by grouping sets ((a, s), (a), ());
SELECT "t"."a" AS "a", "t"."s" AS "s", COUNT(*) AS "count_star()", GROUPING("t"."a") AS "GROUPING(a)" FROM "m"."t"."t" AS "t" GROUP BY GROUPING SETS (("t"."a", "t"."s"), "t"."a", ());

select s as k, count(*) from t group by rollup(k);
SELECT "t"."s" AS "k", COUNT(*) AS "count_star()" FROM "m"."t"."t" AS "t" GROUP BY ROLLUP ("t"."s");

-- stars

select * exclude (b) from t;
SELECT "t"."Id" AS "Id", "t"."a" AS "a", "t"."s" AS "s" FROM "m"."t"."t" AS "t";

select * exclude (t.a) from t, u;
SELECT "t"."Id" AS "Id", "t"."b" AS "b", "t"."s" AS "s", "u"."id" AS "id", "u"."a" AS "a", "u"."c" AS "c" FROM "m"."t"."t" AS "t", "m"."u"."u" AS "u";

select * replace (a + 1 as a) from t;
SELECT "t"."Id" AS "Id", "t"."a" + 1 AS "a", "t"."b" AS "b", "t"."s" AS "s" FROM "m"."t"."t" AS "t";

select * rename (a as z) from t;
SELECT "t"."Id" AS "Id", "t"."a" AS "z", "t"."b" AS "b", "t"."s" AS "s" FROM "m"."t"."t" AS "t";

select t.*, u.c from t, u;
SELECT "t"."Id" AS "Id", "t"."a" AS "a", "t"."b" AS "b", "t"."s" AS "s", "u"."c" AS "c" FROM "m"."t"."t" AS "t", "m"."u"."u" AS "u";

select * like 'a%' from t;
SELECT "t"."a" AS "a" FROM "m"."t"."t" AS "t";

select * not ilike 'A%' from t;
SELECT "t"."Id" AS "Id", "t"."b" AS "b", "t"."s" AS "s" FROM "m"."t"."t" AS "t";

select * similar to 'a|b' from t;
SELECT "t"."a" AS "a", "t"."b" AS "b" FROM "m"."t"."t" AS "t";

select columns(*) from u;
SELECT "u"."id" AS "id", "u"."a" AS "a", "u"."c" AS "c" FROM "m"."u"."u" AS "u";

select columns('a|c') from u;
SELECT "u"."a" AS "a", "u"."c" AS "c" FROM "m"."u"."u" AS "u";

select columns(['c', 'a']) from u;
SELECT "u"."a" AS "a", "u"."c" AS "c" FROM "m"."u"."u" AS "u";

select sum(columns(* exclude (id))) from u;
SELECT SUM("u"."a") AS "a", SUM("u"."c") AS "c" FROM "m"."u"."u" AS "u";

select columns('a|c') + 1 as n from u;
SELECT "u"."a" + 1 AS "n", "u"."c" + 1 AS "n" FROM "m"."u"."u" AS "u";

select coalesce(*columns('a|c')) from u;
SELECT COALESCE("u"."a", "u"."c") AS "COALESCE(m.u.u.a, m.u.u.c)" FROM "m"."u"."u" AS "u";

select * from u where columns('a|c') > 8;
SELECT "u"."id" AS "id", "u"."a" AS "a", "u"."c" AS "c" FROM "m"."u"."u" AS "u" WHERE ("u"."a" > 8) AND ("u"."c" > 8);

select count(*), q.* from (select a from t) q group by all;
SELECT COUNT(*) AS "count_star()", "q"."a" AS "a" FROM (SELECT "t"."a" AS "a" FROM "m"."t"."t" AS "t") AS "q" GROUP BY "q"."a";

select st.* from ss;
SELECT ("ss"."st")."f" AS "f", ("ss"."st")."g" AS "g" FROM "m"."ss"."ss" AS "ss";

-- whole rows and structures

select u from u;
SELECT {'id': "u"."id", 'a': "u"."a", 'c': "u"."c"} AS "u" FROM "m"."u"."u" AS "u";

select q, q.c from u as q;
SELECT {'id': "q"."id", 'a': "q"."a", 'c': "q"."c"} AS "q", "q"."c" AS "c" FROM "m"."u"."u" AS "q";

select st.f, st.g.h, ss.st.f, j.k from ss;
SELECT ("ss"."st")."f" AS "f", (("ss"."st")."g")."h" AS "h", ("ss"."st")."f" AS "f", ("ss"."j")."k" AS "k" FROM "m"."ss"."ss" AS "ss";

select (st).f, st['f'] from ss;
SELECT ("ss"."st")."f" AS "(st).f", "ss"."st"['f'] AS "st['f']" FROM "m"."ss"."ss" AS "ss";

select struct_pack(k := a, v := b), {'x': a}, row(a, b) from t;
SELECT {'k': "t"."a", 'v': "t"."b"} AS "struct_pack(k := a, v := b)", {'x': "t"."a"} AS "struct_pack(x := a)", ROW("t"."a", "t"."b") AS """row""(a, b)" FROM "m"."t"."t" AS "t";

-- joins

select * from t join u using (id);
SELECT "t"."Id" AS "Id", "t"."a" AS "a", "t"."b" AS "b", "t"."s" AS "s", "u"."a" AS "a", "u"."c" AS "c" FROM "m"."t"."t" AS "t" JOIN "m"."u"."u" AS "u" ON "t"."Id" = "u"."id";

select id, t.id, u.id from t left join u using (id);
SELECT "t"."Id" AS "Id", "t"."Id" AS "Id", "u"."id" AS "id" FROM "m"."t"."t" AS "t" LEFT JOIN "m"."u"."u" AS "u" ON "t"."Id" = "u"."id";

select id, c from t right join u using (id);
SELECT "u"."id" AS "id", "u"."c" AS "c" FROM "m"."t"."t" AS "t" RIGHT JOIN "m"."u"."u" AS "u" ON "t"."Id" = "u"."id";

select id, max(z) from t full join u using (id) full join w using (id) group by id;
SELECT COALESCE("t"."Id", "u"."id", "w"."id") AS "id", MAX("w"."z") AS "max(z)" FROM "m"."t"."t" AS "t" FULL JOIN "m"."u"."u" AS "u" ON "t"."Id" = "u"."id" FULL JOIN "m"."w"."w" AS "w" ON COALESCE("t"."Id", "u"."id") = "w"."id" GROUP BY COALESCE("t"."Id", "u"."id", "w"."id");

select * from t natural join u;
SELECT "t"."Id" AS "Id", "t"."a" AS "a", "t"."b" AS "b", "t"."s" AS "s", "u"."c" AS "c" FROM "m"."t"."t" AS "t" JOIN "m"."u"."u" AS "u" ON "t"."Id" = "u"."id" AND "t"."a" = "u"."a";

select * from t semi join u using (id) where a > 1;
SELECT "t"."Id" AS "Id", "t"."a" AS "a", "t"."b" AS "b", "t"."s" AS "s" FROM "m"."t"."t" AS "t" SEMI JOIN "m"."u"."u" AS "u" ON "t"."Id" = "u"."id" WHERE "t"."a" > 1;

select t.a from t anti join u on t.id = u.id;
SELECT "t"."a" AS "a" FROM "m"."t"."t" AS "t" ANTI JOIN "m"."u"."u" AS "u" ON "t"."Id" = "u"."id";

select * from t positional join u;
SELECT "t"."Id" AS "Id", "t"."a" AS "a", "t"."b" AS "b", "t"."s" AS "s", "u"."id" AS "id", "u"."a" AS "a", "u"."c" AS "c" FROM "m"."t"."t" AS "t" POSITIONAL JOIN "m"."u"."u" AS "u";

select t.a, c from t asof join u using (id);
SELECT "t"."a" AS "a", "u"."c" AS "c" FROM "m"."t"."t" AS "t" ASOF JOIN "m"."u"."u" AS "u" ON "t"."Id" >= "u"."id";

select t.a, u.c from t asof join u on t.s = 'x' and t.id >= u.id;
SELECT "t"."a" AS "a", "u"."c" AS "c" FROM "m"."t"."t" AS "t" ASOF JOIN "m"."u"."u" AS "u" ON "t"."s" = 'x' AND "t"."Id" >= "u"."id";

select t.a, z from t, u join w using (id) where t.id = u.id;
SELECT "t"."a" AS "a", "w"."z" AS "z" FROM "m"."t"."t" AS "t", "m"."u"."u" AS "u" JOIN "m"."w"."w" AS "w" ON "u"."id" = "w"."id" WHERE "t"."Id" = "u"."id";

select * from t join (u join w using (id)) on t.id = u.id;
SELECT "t"."Id" AS "Id", "t"."a" AS "a", "t"."b" AS "b", "t"."s" AS "s", "u"."id" AS "id", "u"."a" AS "a", "u"."c" AS "c", "w"."c" AS "c", "w"."z" AS "z" FROM "m"."t"."t" AS "t" JOIN ("m"."u"."u" AS "u" JOIN "m"."w"."w" AS "w" ON "u"."id" = "w"."id") ON "t"."Id" = "u"."id";

select x.c_1 from (u join w using (id)) as x;
SELECT "x"."c_1" AS "c_1" FROM (SELECT "u"."id" AS "id", "u"."a" AS "a", "u"."c" AS "c", "w"."c" AS "c_1", "w"."z" AS "z" FROM "m"."u"."u" AS "u" JOIN "m"."w"."w" AS "w" ON "u"."id" = "w"."id") AS "x";

-- sub-queries, nearest scope first

select a from t where a in (select a from u where c = b);
SELECT "t"."a" AS "a" FROM "m"."t"."t" AS "t" WHERE "t"."a" IN (SELECT "u"."a" AS "a" FROM "m"."u"."u" AS "u" WHERE "u"."c" = "t"."b");

select a from t where exists (select 1 from u where u.a = t.a and exists (select 1 from w where w.id = u.id and w.c < t.b));
SELECT "t"."a" AS "a" FROM "m"."t"."t" AS "t" WHERE EXISTS(SELECT 1 AS "1" FROM "m"."u"."u" AS "u" WHERE "u"."a" = "t"."a" AND EXISTS(SELECT 1 AS "1" FROM "m"."w"."w" AS "w" WHERE "w"."id" = "u"."id" AND "w"."c" < "t"."b"));

select (select max(t.b) from u t where t.id = 1) from t;
SELECT (SELECT MAX("t"."b") AS "max(t.b)" FROM "m"."u"."u" AS "t_1" WHERE "t_1"."id" = 1) AS "(SELECT max(t.b) FROM u AS t WHERE (t.id = 1))" FROM "m"."t"."t" AS "t";

select a, (select sum(c) from u where id = t.id) from t order by 2;
SELECT "t"."a" AS "a", (SELECT SUM("u"."c") AS "sum(c)" FROM "m"."u"."u" AS "u" WHERE "u"."id" = "t"."Id") AS "(SELECT sum(c) FROM u WHERE (id = t.id))" FROM "m"."t"."t" AS "t" ORDER BY "(SELECT sum(c) FROM u WHERE (id = t.id))";

select a > all (select c from u), a = any (select 1) from t;
SELECT "t"."a" > ALL (SELECT "u"."c" AS "c" FROM "m"."u"."u" AS "u") AS "(NOT (a <= ANY(SELECT c FROM u)))", "t"."a" = ANY (SELECT 1 AS "1") AS "(a = ANY(SELECT 1))" FROM "m"."t"."t" AS "t";

-- derived tables and LATERAL

select q.y, b2, x from (select a as x, b from t) q(y, b2), (select y + 1 as x) q2;
SELECT "q"."y" AS "y", "q"."b2" AS "b2", "q2"."x" AS "x" FROM (SELECT "t"."a" AS "y", "t"."b" AS "b2" FROM "m"."t"."t" AS "t") AS "q", LATERAL (SELECT "q"."y" + 1 AS "x") AS "q2";

select * from t, (select c from u where u.a = t.a) n;
SELECT "t"."Id" AS "Id", "t"."a" AS "a", "t"."b" AS "b", "t"."s" AS "s", "n"."c" AS "c" FROM "m"."t"."t" AS "t", LATERAL (SELECT "u"."c" AS "c" FROM "m"."u"."u" AS "u" WHERE "u"."a" = "t"."a") AS "n";

select t.a, n.c from t left join lateral (select c from u where u.a = t.a limit 1) n on true;
SELECT "t"."a" AS "a", "n"."c" AS "c" FROM "m"."t"."t" AS "t" LEFT JOIN LATERAL (SELECT "u"."c" AS "c" FROM "m"."u"."u" AS "u" WHERE "u"."a" = "t"."a" LIMIT 1) AS "n" ON TRUE;

select l1.k from ss, unnest(l) as l1(k), unnest([t, k]) as l2;
SELECT "l1"."k" AS "k" FROM "m"."ss"."ss" AS "ss" JOIN UNNEST("ss"."l") AS "l1"("k") ON TRUE JOIN UNNEST(["ss"."t", "l1"."k"]) AS "l2"("l2") ON TRUE;

select unnest, range from unnest([1]), range(3);
SELECT "unnest"."unnest" AS "unnest", "range"."range" AS "range" FROM UNNEST([1]) AS "unnest"("unnest"), RANGE(0, 3) AS "range"("range");

select e, ordinality from unnest(['x', 'y']) with ordinality as n(e);
SELECT "n"."e" AS "e", "n"."ordinality" AS "ordinality" FROM UNNEST(['x', 'y']) WITH ORDINALITY AS "n"("e", "ordinality");

select col0, k from (values (1, 2)) v(k), (values (3));
SELECT "values"."col0" AS "col0", "v"."k" AS "k" FROM (VALUES (1, 2)) AS "v"("k", "col1"), (VALUES (3)) AS "values"("col0");

values (1, 'x'), (2, 'y');
SELECT "values"."col0" AS "col0", "values"."col1" AS "col1" FROM (VALUES (1, 'x'), (2, 'y')) AS "values"("col0", "col1");

values ((select max(a) from t));
SELECT "values"."col0" AS "col0" FROM (VALUES ((SELECT MAX("t"."a") AS "max(a)" FROM "m"."t"."t" AS "t"))) AS "values"("col0");

-- common table expressions

with k as (select a, count(*) n from t group by a) select k.a, q.n from k, K as q;
WITH "k" AS (SELECT "t"."a" AS "a", COUNT(*) AS "n" FROM "m"."t"."t" AS "t" GROUP BY "t"."a") SELECT "k"."a" AS "a", "q"."n" AS "n" FROM "k" AS "k", "k" AS "q";

with k(x) as (select a, b from t) select * from k;
WITH "k" AS (SELECT "t"."a" AS "x", "t"."b" AS "b" FROM "m"."t"."t" AS "t") SELECT "k"."x" AS "x", "k"."b" AS "b" FROM "k" AS "k";

with t as (select a as only_one from t) select * from t;
WITH "t" AS (SELECT "t"."a" AS "only_one" FROM "m"."t"."t" AS "t") SELECT "t"."only_one" AS "only_one" FROM "t" AS "t";

with recursive r(n) as (select 1 union all select n + 1 from r where n < 3) select sum(n) from r;
WITH RECURSIVE "r" AS (SELECT 1 AS "n" UNION ALL SELECT "r"."n" + 1 AS "(n + 1)" FROM "r" AS "r" WHERE "r"."n" < 3) SELECT SUM("r"."n") AS "sum(n)" FROM "r" AS "r";

with a as (select 1 as x), b as (with a as (select x + 1 as y from a) select y from a) select * from b;
WITH "a" AS (SELECT 1 AS "x"), "b" AS (WITH "a" AS (SELECT "a"."x" + 1 AS "y" FROM "a" AS "a") SELECT "a"."y" AS "y" FROM "a" AS "a") SELECT "b"."y" AS "y" FROM "b" AS "b";

select (with k as (select t.a as x) select x from k) from t;
SELECT (WITH "k" AS (SELECT "t"."a" AS "x") SELECT "k"."x" AS "x" FROM "k" AS "k") AS "(WITH k AS (SELECT t.a AS x) SELECT x FROM k)" FROM "m"."t"."t" AS "t";

-- set operations

select a from t union all select c from u order by a limit 2;
SELECT "t"."a" AS "a" FROM "m"."t"."t" AS "t" UNION ALL SELECT "u"."c" AS "c" FROM "m"."u"."u" AS "u" ORDER BY "a" LIMIT 2;

select a as x from t union select c as y from u order by y desc;
SELECT "t"."a" AS "x" FROM "m"."t"."t" AS "t" UNION SELECT "u"."c" AS "y" FROM "m"."u"."u" AS "u" ORDER BY "x" DESC;

select a, b from t union all by name select c, a from u;
SELECT "left"."a" AS "a", "left"."b" AS "b", NULL AS "c" FROM (SELECT "t"."a" AS "a", "t"."b" AS "b" FROM "m"."t"."t" AS "t") AS "left" UNION ALL SELECT "right"."a" AS "a", NULL AS "b", "right"."c" AS "c" FROM (SELECT "u"."c" AS "c", "u"."a" AS "a" FROM "m"."u"."u" AS "u") AS "right";

select a, b from t intersect select a, c from u except select 1, 2;
SELECT "t"."a" AS "a", "t"."b" AS "b" FROM "m"."t"."t" AS "t" INTERSECT SELECT "u"."a" AS "a", "u"."c" AS "c" FROM "m"."u"."u" AS "u" EXCEPT SELECT 1 AS "1", 2 AS "2";

(select a from t order by b limit 1) union all (select a from u);
(SELECT "t"."a" AS "a" FROM "m"."t"."t" AS "t" ORDER BY "t"."b" LIMIT 1) UNION ALL (SELECT "u"."a" AS "a" FROM "m"."u"."u" AS "u");

select * from (select a from t union all select c from u) q where q.a > 1;
SELECT "q"."a" AS "a" FROM (SELECT "t"."a" AS "a" FROM "m"."t"."t" AS "t" UNION ALL SELECT "u"."c" AS "c" FROM "m"."u"."u" AS "u") AS "q" WHERE "q"."a" > 1;

-- lambdas, lists, windows

select list_transform(l, lambda x: x + t), [x * 2 for x in l if x > t] from ss;
SELECT LIST_TRANSFORM("ss"."l", LAMBDA x : x + "ss"."t") AS "list_transform(l, (lambda x: (x + t)))", [x * 2 FOR x IN "ss"."l" IF x > "ss"."t"] AS "list_apply(list_filter(list_apply(l, (lambda x: struct_pack(""filter"" := (x > t), result := (x * 2)))), (lambda elem: struct_extract(elem, 'filter'))), (lambda elem: struct_extract(elem, 'result')))" FROM "m"."ss"."ss" AS "ss";

select list_filter(l, lambda t: t > 1) from ss;
SELECT LIST_FILTER("ss"."l", LAMBDA t : t > 1) AS "list_filter(l, (lambda t: (t > 1)))" FROM "m"."ss"."ss" AS "ss";

select sum(a) over w, avg(b) over (w rows 1 preceding) from t window w as (order by id);
SELECT SUM("t"."a") OVER w AS "sum(a) OVER (ORDER BY id)", AVG("t"."b") OVER (w rows BETWEEN 1 preceding AND CURRENT ROW) AS "avg(b) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)" FROM "m"."t"."t" AS "t" WINDOW w AS (ORDER BY "t"."Id");

select string_agg(s, ',' order by a desc), sum(a) filter (where b > 1) from t;
SELECT LISTAGG("t"."s", ',' ORDER BY "t"."a" DESC) AS "string_agg(s, ',' ORDER BY a DESC)", SUM("t"."a") FILTER(WHERE "t"."b" > 1) AS "sum(a) FILTER (WHERE (b > 1))" FROM "m"."t"."t" AS "t";

select percentile_cont(0.5) within group (order by a), mode() within group (order by s) from t;
SELECT QUANTILE_CONT("t"."a", 0.5 ORDER BY "t"."a") AS "quantile_cont(0.5 ORDER BY a)", MODE( ORDER BY "t"."s") AS """mode""() WITHIN GROUP ( ORDER BY s)" FROM "m"."t"."t" AS "t";

select max(a) from t where a = $1 and s = $2;
SELECT MAX("t"."a") AS "max(a)" FROM "m"."t"."t" AS "t" WHERE "t"."a" = $1 AND "t"."s" = $2;

select current_date, now() is null from t;
SELECT TODAY() AS "current_date", NOW() IS NULL AS "(now() IS NULL)" FROM "m"."t"."t" AS "t";

select * from t as q(one, two) where two > 1;
SELECT "q"."Id" AS "one", "q"."a" AS "two", "q"."b" AS "b", "q"."s" AS "s" FROM "m"."t"."t" AS "q" WHERE "q"."a" > 1;

select a from t where a in (values (10));
SELECT "t"."a" AS "a" FROM "m"."t"."t" AS "t" WHERE "t"."a" IN (SELECT "values"."col0" AS "col0" FROM (VALUES (10)) AS "values"("col0"));

select t.a from t, (select max(c) as m from u) where t.a > m;
SELECT "t"."a" AS "a" FROM "m"."t"."t" AS "t", (SELECT MAX("u"."c") AS "m" FROM "m"."u"."u" AS "u") AS "subquery" WHERE "t"."a" > "subquery"."m";

select a from t where (a, b) in (select a, c from u);
SELECT "t"."a" AS "a" FROM "m"."t"."t" AS "t" WHERE ("t"."a", "t"."b") IN (SELECT "u"."a" AS "a", "u"."c" AS "c" FROM "m"."u"."u" AS "u");

select distinct s from t order by s;
SELECT DISTINCT "t"."s" AS "s" FROM "m"."t"."t" AS "t" ORDER BY "s";

select a, count(*) filter (where b > 1) as n from t group by a order by n desc, a;
SELECT "t"."a" AS "a", COUNT(*) FILTER(WHERE "t"."b" > 1) AS "n" FROM "m"."t"."t" AS "t" GROUP BY "t"."a" ORDER BY "n" DESC, "a";
