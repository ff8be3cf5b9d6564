using Sagas.Participants;
using Sagas.Redis;

namespace Orders;

/// <summary>Keeps the goods on a shelf in Redis.</summary>
public sealed class Inventory(RedisEffects redis) : ITccHandler<ReserveGoods, Held>
{
    private readonly Shelf _goods = new(redis, "inventory");

    /// <summary>How many pieces of an item there are at first.</summary>
    public static int Opening(string item) => item == "unicorn" ? 0 : 60;

    public Task<Held> TryAsync(ReserveGoods command, CommandContext context, CancellationToken cancel) =>
        _goods.HoldAsync(context, command.Item, command.Quantity, Opening(command.Item), "out-of-stock");

    public Task ConfirmAsync(ReserveGoods command, Held? reservation, CommandContext context, CancellationToken cancel) => _goods.TakeAsync(context);

    public Task CancelAsync(ReserveGoods command, Held? reservation, CommandContext context, CancellationToken cancel) => _goods.ReturnAsync(context);
}
