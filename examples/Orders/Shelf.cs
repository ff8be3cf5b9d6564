using Sagas.Participants;
using Sagas.Redis;
using StackExchange.Redis;

namespace Orders;

/// <summary>
/// So much of each thing in Redis, of which some is held for a saga until it is taken or goes back: goods for the inventory, money for the payment. What a script
/// changes and the barrier's note that it was changed are one write: however often it is asked, it happens once.
/// </summary>
internal sealed class Shelf(RedisEffects redis, string service)
{
    private readonly RedisKey[] _keys = [$"{service}:left", $"{service}:held", $"{service}:taken"];

    /// <summary>Holds some of a thing for the saga. Refused with the code when there is less. What the script returns is noted as the try's answer, and is what a repeat gets.</summary>
    public Task<Held> HoldAsync(CommandContext context, string thing, int amount, int opening, string refusal) => redis.ApplyAsync<Held>(context, """
        local saga, thing, amount = ARGV[1], ARGV[2], tonumber(ARGV[3])
        local left = tonumber(redis.call('HGET', KEYS[1], thing) or ARGV[4])
        if left < amount then return refuse(ARGV[5], 'Of ' .. thing .. ' there are ' .. left .. ', which is less than ' .. amount .. '.') end
        redis.call('HSET', KEYS[1], thing, left - amount)
        redis.call('HSET', KEYS[2], saga, cjson.encode({thing = thing, amount = amount}))
        return cjson.encode({thing = thing, left = left - amount})
        """, _keys, context.Saga, thing, amount, opening, refusal);

    /// <summary>What is held is taken for good.</summary>
    public Task TakeAsync(CommandContext context) => redis.ApplyAsync(context, """
        redis.call('HSET', KEYS[3], ARGV[1], redis.call('HGET', KEYS[2], ARGV[1]))
        redis.call('HDEL', KEYS[2], ARGV[1])
        """, _keys, context.Saga);

    /// <summary>What is held, if anything is, goes back.</summary>
    public Task ReturnAsync(CommandContext context) => redis.ApplyAsync(context, """
        local held = redis.call('HGET', KEYS[2], ARGV[1])
        if not held then return end
        held = cjson.decode(held)
        redis.call('HINCRBY', KEYS[1], held.thing, held.amount)
        redis.call('HDEL', KEYS[2], ARGV[1])
        """, _keys, context.Saga);
}
