using Sagas.Participants;
using Sagas.Redis;

namespace Orders;

/// <summary>Keeps the customers' money in Redis, as the inventory keeps goods.</summary>
public sealed class Payment(RedisEffects redis) : ITccHandler<HoldMoney, Held>
{
    private readonly Shelf _money = new(redis, "payment");

    /// <summary>How much a customer has at first.</summary>
    public static int Opening(string customer) => customer == "broke" ? 0 : 1000;

    public Task<Held> TryAsync(HoldMoney command, CommandContext context, CancellationToken cancel) =>
        _money.HoldAsync(context, command.Customer, command.Amount, Opening(command.Customer), "no-money");

    public Task ConfirmAsync(HoldMoney command, Held? reservation, CommandContext context, CancellationToken cancel) => _money.TakeAsync(context);

    public Task CancelAsync(HoldMoney command, Held? reservation, CommandContext context, CancellationToken cancel) => _money.ReturnAsync(context);
}
