using Sagas.Participants;

namespace Trip;

public sealed class Seats(DataFolder data) : ITccHandler<ReserveSeat, Seat>
{
    public const int PerFlight = 500;
    private readonly Stock _seats = new(data.Of("seats"), "seat", PerFlight);

    public async Task<Seat> TryAsync(ReserveSeat command, CommandContext context, CancellationToken cancel)
    {
        var held = await _seats.HoldAsync($"{command.Flight} {command.Day:yyyy-MM-dd}", Magic.SeatsOf(command.Flight), 180, context);
        return new Seat(held.Id, held.Amount);
    }

    public Task ConfirmAsync(ReserveSeat command, Seat? reservation, CommandContext context, CancellationToken cancel) => _seats.ConfirmAsync(context);

    public Task CancelAsync(ReserveSeat command, Seat? reservation, CommandContext context, CancellationToken cancel) => _seats.ReleaseAsync(context);
}

public sealed class Rooms(DataFolder data) : ITccHandler<ReserveRoom, Room>
{
    public const int PerCity = 500;
    private readonly Stock _rooms = new(data.Of("rooms"), "room", PerCity);

    public async Task<Room> TryAsync(ReserveRoom command, CommandContext context, CancellationToken cancel)
    {
        await Magic.BeforeTryAsync(command.City, context, cancel);
        var held = await _rooms.HoldAsync($"{command.City} {command.Day:yyyy-MM-dd}", Magic.RoomsIn(command.City), 95, context);
        Magic.AfterTry(command.City, context);
        return new Room(held.Id, held.Amount);
    }

    public Task ConfirmAsync(ReserveRoom command, Room? reservation, CommandContext context, CancellationToken cancel)
    {
        Magic.BeforeSecond(command.City, context);
        return _rooms.ConfirmAsync(context);
    }

    public Task CancelAsync(ReserveRoom command, Room? reservation, CommandContext context, CancellationToken cancel)
    {
        Magic.BeforeSecond(command.City, context);
        return _rooms.ReleaseAsync(context);
    }
}

public sealed class Money(DataFolder data) : IStepHandler<HoldMoney, Hold>, IStepHandler<ReleaseMoney>, IStepHandler<Capture>
{
    private readonly Ledger _money = new(data.Of("money"));

    public async Task<Hold> HandleAsync(HoldMoney command, CommandContext context, CancellationToken cancel)
    {
        var held = await _money.OnceAsync(context.Key, () =>
            command.Card == Magic.ExpiredCard
                ? throw new RefusedException("card-expired", "The card has expired.")
                : new Line(context.Key, "held", $"money:{context.Saga}", context.Saga, command.Card, command.Amount, DateTimeOffset.UtcNow));
        return new Hold(held.Id);
    }

    public Task HandleAsync(ReleaseMoney command, CommandContext context, CancellationToken cancel) =>
        _money.OnceAsync(context.Key, () => After(command.Hold, "released", context));

    public Task HandleAsync(Capture command, CommandContext context, CancellationToken cancel) => _money.OnceAsync(context.Key, () =>
    {
        var captured = After(command.Hold, "captured", context);
        return captured.Item != Magic.FrozenCard ? captured : throw new RefusedException("card-frozen", "The card was frozen after the money was held.");
    });

    private Line After(string id, string what, CommandContext context) => _money.FindHold(id) is { } hold
        ? new Line(context.Key, what, id, context.Saga, hold.Item, hold.Amount, DateTimeOffset.UtcNow)
        : throw new InvalidOperationException($"There is no hold '{id}'.");
}

public sealed class Tickets(DataFolder data) : IStepHandler<SendTicket>
{
    private readonly Ledger _tickets = new(data.Of("tickets"));

    public Task HandleAsync(SendTicket command, CommandContext context, CancellationToken cancel) => _tickets.OnceAsync(context.Key, () =>
        new Line(context.Key, "sent", command.Seat, context.Saga, command.Email, 0, DateTimeOffset.UtcNow));
}
