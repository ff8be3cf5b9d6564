using Sagas;
using Sagas.Participants;
using Sagas.Redis;
using StackExchange.Redis;

namespace Orders;

public record HoldMoney(string Customer, int Amount) : ITryCommand<HoldMoney, Hold>;
public record Hold(string Customer, int Amount);

/// <summary>Keeps the customers' money in Redis, as the inventory keeps goods.</summary>
public sealed class Payment(RedisEffects redis) : ITccHandler<HoldMoney, Hold>
{
    private static readonly RedisKey[] s_keys = ["payment:left", "payment:held", "payment:paid"];

    /// <summary>How much a customer has at first.</summary>
    public static int Opening(string customer) => customer == "broke" ? 0 : 1000;

    public Task<Hold> TryAsync(HoldMoney command, CommandContext context, CancellationToken cancel) => redis.ApplyAsync<Hold>(context, """
        local saga, customer, amount = ARGV[1], ARGV[2], tonumber(ARGV[3])
        local left = tonumber(redis.call('HGET', KEYS[1], customer) or ARGV[4])
        if left < amount then return refuse('no-money', customer .. ' has ' .. left .. ', which is less than ' .. amount .. '.') end
        redis.call('HSET', KEYS[1], customer, left - amount)
        local hold = cjson.encode({customer = customer, amount = amount})
        redis.call('HSET', KEYS[2], saga, hold)
        return hold
        """, s_keys, context.Saga, command.Customer, command.Amount, Opening(command.Customer));

    public Task ConfirmAsync(HoldMoney command, Hold? reservation, CommandContext context, CancellationToken cancel) => redis.ApplyAsync(context, """
        redis.call('HSET', KEYS[3], ARGV[1], redis.call('HGET', KEYS[2], ARGV[1]))
        redis.call('HDEL', KEYS[2], ARGV[1])
        """, s_keys, context.Saga);

    public Task CancelAsync(HoldMoney command, Hold? reservation, CommandContext context, CancellationToken cancel) => redis.ApplyAsync(context, """
        local held = redis.call('HGET', KEYS[2], ARGV[1])
        if not held then return end
        held = cjson.decode(held)
        redis.call('HINCRBY', KEYS[1], held.customer, held.amount)
        redis.call('HDEL', KEYS[2], ARGV[1])
        """, s_keys, context.Saga);
}
