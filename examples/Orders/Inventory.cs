using Sagas;
using Sagas.Participants;
using Sagas.Redis;
using StackExchange.Redis;

namespace Orders;

public record ReserveGoods(string Item, int Quantity) : ITryCommand<ReserveGoods, Goods>;
public record Goods(string Item, int Left);

/// <summary>Keeps the goods in Redis. What a script changes and the barrier's note that it was changed are one write: however often it is asked, it happens once.</summary>
public sealed class Inventory(RedisEffects redis) : ITccHandler<ReserveGoods, Goods>
{
    private static readonly RedisKey[] s_keys = ["inventory:left", "inventory:held", "inventory:sold"];

    /// <summary>How many pieces of an item there are at first.</summary>
    public static int Opening(string item) => item == "unicorn" ? 0 : 60;

    public Task<Goods> TryAsync(ReserveGoods command, CommandContext context, CancellationToken cancel) => redis.ApplyAsync<Goods>(context, """
        local saga, item, quantity = ARGV[1], ARGV[2], tonumber(ARGV[3])
        local left = tonumber(redis.call('HGET', KEYS[1], item) or ARGV[4])
        if left < quantity then return refuse('out-of-stock', 'Of ' .. item .. ' there are ' .. left .. ', which is less than ' .. quantity .. '.') end
        redis.call('HSET', KEYS[1], item, left - quantity)
        redis.call('HSET', KEYS[2], saga, cjson.encode({item = item, quantity = quantity}))
        return cjson.encode({item = item, left = left - quantity})
        """, s_keys, context.Saga, command.Item, command.Quantity, Opening(command.Item));

    public Task ConfirmAsync(ReserveGoods command, Goods? reservation, CommandContext context, CancellationToken cancel) => redis.ApplyAsync(context, """
        redis.call('HSET', KEYS[3], ARGV[1], redis.call('HGET', KEYS[2], ARGV[1]))
        redis.call('HDEL', KEYS[2], ARGV[1])
        """, s_keys, context.Saga);

    public Task CancelAsync(ReserveGoods command, Goods? reservation, CommandContext context, CancellationToken cancel) => redis.ApplyAsync(context, """
        local held = redis.call('HGET', KEYS[2], ARGV[1])
        if not held then return end
        held = cjson.decode(held)
        redis.call('HINCRBY', KEYS[1], held.item, held.quantity)
        redis.call('HDEL', KEYS[2], ARGV[1])
        """, s_keys, context.Saga);
}
