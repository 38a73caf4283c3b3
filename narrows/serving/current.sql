with asked as (
    select cast(:user_id as varchar) as user_id, cast(:scene as varchar) as scene,
           cast(:segment as varchar) as segment, cast(:n as integer) as n
),
member as (
    select asked.scene, coalesce(asked.segment, (
        select own.segment from current_list own where own.scene = asked.scene and own.user_id = asked.user_id
    )) as segment
    from asked
),
offered as (
    select 0 as source, own.rank as place, own.item_id, own.score, own.propensity, own.reason,
           own.release_id, own.asof, own.expires_at, own.segment
    from asked cross join current_recommendation own
    where own.scene = asked.scene and own.user_id = asked.user_id
    union all
    select 1, filled.rank, filled.item_id, filled.score, 1.0, 'fallback',
           filled.release_id, filled.asof, null, filled.segment
    from member cross join current_fallback filled
    where filled.scene = member.scene and filled.segment = member.segment
    union all
    select 2, filled.rank, filled.item_id, filled.score, 1.0, 'fallback',
           filled.release_id, filled.asof, null, filled.segment
    from asked cross join current_fallback filled
    where filled.scene = asked.scene and filled.segment = 'all'
),
copies as (
    select offered.*, row_number() over (partition by item_id order by source, place) as copy from offered
),
list as (
    select copies.*, row_number() over (order by source, place) as rank from copies where copy = 1
)
select asked.scene, asked.user_id, list.rank, list.item_id, list.score, list.propensity, list.reason,
       reason.text as reason_text, list.release_id, list.asof, list.expires_at, list.segment,
       list.source > 0 as is_fallback
from asked cross join list left join reason on reason.code = list.reason
where list.rank <= asked.n
order by list.rank
