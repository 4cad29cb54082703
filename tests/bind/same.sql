-- Statements that DuckDB answers alike as they are and bound.

select 1;
