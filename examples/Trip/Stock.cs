using Sagas.Participants;

namespace Trip;

/// <summary>Things that can be held, confirmed and released: so many of each item. What Seats and Rooms have in common.</summary>
public sealed class Stock(string path, string thing, int each)
{
    private readonly Ledger _ledger = new(path);

    public Task<Line> HoldAsync(string item, int available, decimal price, CommandContext context) => _ledger.OnceAsync(context.Key, () =>
        _ledger.Taken(item) >= Math.Min(each, available)
            ? throw new RefusedException("sold-out", $"No {thing} is left: {item}.")
            : Line(context, "held", item, price));

    public Task ConfirmAsync(CommandContext context) => _ledger.OnceAsync(context.Key, () =>
        _ledger.FindHold(IdFor(context)) is { } held
            ? Line(context, "confirmed", held.Item, held.Amount)
            : throw new InvalidOperationException($"No {thing} is held for saga '{context.Saga}'."));

    /// <summary>Gives back what is held, if anything is: a Try that failed midway may have left nothing.</summary>
    public Task ReleaseAsync(CommandContext context) => _ledger.OnceAsync(context.Key, () =>
        _ledger.FindHold(IdFor(context)) is { } held
            ? Line(context, "released", held.Item, held.Amount)
            : Line(context, "nothing to release", "", 0));

    // The id comes from the saga and the step, not from a counter: Cancel finds the hold even when the Try's answer was lost.
    private string IdFor(CommandContext context) => $"{thing}:{context.Saga}";

    private Line Line(CommandContext context, string what, string item, decimal amount) =>
        new(context.Key, what, IdFor(context), context.Saga, item, amount, DateTimeOffset.UtcNow);
}
