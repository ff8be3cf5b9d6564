using Sagas.Participants;

namespace Sagas.Benchmarks;

public sealed record Trip(string Traveller);

public sealed record Held(string Reservation);

public sealed record TryFlight(string Traveller) : ITryCommand<TryFlight, Held>;

public sealed record TryHotel(string Traveller) : ITryCommand<TryHotel, Held>;

public sealed record TryCar(string Traveller, bool Refuse) : ITryCommand<TryCar, Held>;

/// <summary>Three reservations side by side, then three confirms.</summary>
[Saga("book-trip-parallel")]
public sealed class ParallelTrip(bool refuse) : Saga<Trip, string>
{
    protected override SagaEnd<string> Define(Flow<Trip> saga)
    {
        saga.Parallel(
            f => f.Tcc(c => new TryFlight(c.Input.Traveller)).Named("flight"),
            f => f.Tcc(c => new TryHotel(c.Input.Traveller)).Named("hotel"),
            f => f.Tcc(c => new TryCar(c.Input.Traveller, refuse)).Named("car"));
        return saga.Complete(_ => "booked");
    }
}

/// <summary>Three reservations one after the other, then three confirms.</summary>
[Saga("book-trip-sequential")]
public sealed class SequentialTrip(bool refuse) : Saga<Trip, string>
{
    protected override SagaEnd<string> Define(Flow<Trip> saga)
    {
        saga.Tcc(c => new TryFlight(c.Input.Traveller)).Named("flight");
        saga.Tcc(c => new TryHotel(c.Input.Traveller)).Named("hotel");
        saga.Tcc(c => new TryCar(c.Input.Traveller, refuse)).Named("car");
        return saga.Complete(_ => "booked");
    }
}

/// <summary>A participant that does nothing: what is measured is everything around it.</summary>
public sealed class Flights : ITccHandler<TryFlight, Held>
{
    public Task<Held> TryAsync(TryFlight command, CommandContext context, CancellationToken cancel) => Task.FromResult(new Held("flight-reservation"));

    public Task ConfirmAsync(TryFlight command, Held? reservation, CommandContext context, CancellationToken cancel) => Task.CompletedTask;

    public Task CancelAsync(TryFlight command, Held? reservation, CommandContext context, CancellationToken cancel) => Task.CompletedTask;
}

/// <summary>A participant that does nothing.</summary>
public sealed class Hotels : ITccHandler<TryHotel, Held>
{
    public Task<Held> TryAsync(TryHotel command, CommandContext context, CancellationToken cancel) => Task.FromResult(new Held("hotel-reservation"));

    public Task ConfirmAsync(TryHotel command, Held? reservation, CommandContext context, CancellationToken cancel) => Task.CompletedTask;

    public Task CancelAsync(TryHotel command, Held? reservation, CommandContext context, CancellationToken cancel) => Task.CompletedTask;
}

/// <summary>A participant that does nothing, or says no.</summary>
public sealed class Cars : ITccHandler<TryCar, Held>
{
    private static readonly Task<Held> No = Task.FromException<Held>(new RefusedException("no-car", "No car is left."));

    public Task<Held> TryAsync(TryCar command, CommandContext context, CancellationToken cancel) =>
        command.Refuse ? No : Task.FromResult(new Held("car-reservation"));

    public Task ConfirmAsync(TryCar command, Held? reservation, CommandContext context, CancellationToken cancel) => Task.CompletedTask;

    public Task CancelAsync(TryCar command, Held? reservation, CommandContext context, CancellationToken cancel) => Task.CompletedTask;
}
