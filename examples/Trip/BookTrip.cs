using Sagas;

namespace Trip;

/// <summary>Books a trip: seat and room are reserved side by side, the money is held, and capturing it is the point of no return.</summary>
[Saga("book-trip", version: 1)]
public sealed class BookTrip : Saga<TripRequest, TripBooked>
{
    protected override SagaEnd<TripBooked> Define(Flow<TripRequest> saga)
    {
        var (seat, room) = saga.Parallel(
            f => f.Tcc(c => new ReserveSeat(c.Input.Flight, c.Input.Day)).Timeout(5.Seconds()).Retry(5, 200.Milliseconds()),
            f => f.Tcc(c => new ReserveRoom(c.Input.City, c.Input.Day)));
        var hold = saga.Step(c => new HoldMoney(c.Input.Card, c.Get(seat).Price + c.Get(room).Price))
                       .Compensate((c, h) => new ReleaseMoney(h.Id));
        saga.Step(c => new Capture(c.Get(hold).Id)).Pivot();
        saga.Step(c => new SendTicket(c.Input.Email, c.Get(seat).Id));      // after the pivot: forward only
        return saga.Complete(c => new TripBooked(c.Get(seat).Id, c.Get(room).Id));
    }
}

public record TripRequest(string City, string Flight, DateOnly Day, string Card, string Email);
public record TripBooked(string Seat, string Room);

public record ReserveSeat(string Flight, DateOnly Day) : ITryCommand<ReserveSeat, Seat>;
public record Seat(string Id, decimal Price);

public record ReserveRoom(string City, DateOnly Day) : ITryCommand<ReserveRoom, Room>;
public record Room(string Id, decimal Price);

public record HoldMoney(string Card, decimal Amount) : ICommand<HoldMoney, Hold>;
public record Hold(string Id);
public record ReleaseMoney(string Hold) : ICommand<ReleaseMoney>;
public record Capture(string Hold) : ICommand<Capture>;

public record SendTicket(string Email, string Seat) : ICommand<SendTicket>;
