namespace Sagas.Tests.Heart;

// The definitions that the stories tell of. Step names are short so that a story reads as one.

internal record Traveller(string Name);
internal record Booked(string? Seat, string? Room);
internal record Item(string Id, decimal Price);
internal record TrySeat(string Name) : ITryCommand<TrySeat, Item>;
internal record TryRoom(string Name) : ITryCommand<TryRoom, Item>;
internal record TryCar(string Name) : ITryCommand<TryCar, Item>;
internal record HoldMoney(string Name, decimal Amount) : ICommand<HoldMoney, Item>;
internal record ReleaseMoney(string Id) : ICommand<ReleaseMoney>;
internal record ReleaseAll(string Name) : ICommand<ReleaseAll>;
internal record Capture(string Id) : ICommand<Capture, Item>;
internal record SendTicket(string Seat) : ICommand<SendTicket>;
internal record LookUp(string Name) : ICommand<LookUp, Item>;

/// <summary>Two reservations side by side.</summary>
[Saga("pair")]
internal sealed class Pair : Saga<Traveller, Booked>
{
    protected override SagaEnd<Booked> Define(Flow<Traveller> saga)
    {
        saga.Timeout(5.Minutes());
        var (seat, room) = saga.Parallel(
            f => f.Tcc(c => new TrySeat(c.Input.Name)).Named("seat").To("seats").Retry(2, 1.Seconds()),
            f => f.Tcc(c => new TryRoom(c.Input.Name)).Named("room").To("rooms").Retry(2, 1.Seconds()).NoRetryOn<InvalidOperationException>());
        return saga.Complete(c => new Booked(c.Get(seat).Id, c.Get(room).Id));
    }
}

/// <summary>Three reservations at once.</summary>
[Saga("trio")]
internal sealed class Trio : Saga<Traveller, string>
{
    protected override SagaEnd<string> Define(Flow<Traveller> saga)
    {
        saga.Parallel(
            f => f.Tcc(c => new TrySeat(c.Input.Name)).Named("seat").To("seats").Retry(2, 1.Seconds()),
            f => f.Tcc(c => new TryRoom(c.Input.Name)).Named("room").To("rooms").Retry(2, 1.Seconds()),
            f => f.Tcc(c => new TryCar(c.Input.Name)).Named("car").To("cars").Retry(2, 1.Seconds()));
        return saga.Complete(_ => "done");
    }
}

/// <summary>Three reservations, each after the other.</summary>
[Saga("row")]
internal sealed class Row : Saga<Traveller, Booked>
{
    protected override SagaEnd<Booked> Define(Flow<Traveller> saga)
    {
        var seat = saga.Tcc(c => new TrySeat(c.Input.Name)).Named("seat").To("seats").Retry(2, 1.Seconds());
        var room = saga.Tcc(c => new TryRoom(c.Input.Name)).Named("room").To("rooms").Retry(2, 1.Seconds());
        saga.Tcc(c => new TryCar(c.Input.Name)).Named("car").To("cars").Retry(2, 1.Seconds());
        return saga.Complete(c => new Booked(c.Get(seat).Id, c.Get(room).Id));
    }
}

/// <summary>Reservations, money held and taken, a ticket: TCC, plain, pivot and forward in one.</summary>
[Saga("trip")]
internal sealed class Trip : Saga<Traveller, Booked>
{
    protected override SagaEnd<Booked> Define(Flow<Traveller> saga)
    {
        saga.Timeout(5.Minutes());
        var (seat, room) = saga.Parallel(
            f => f.Tcc(c => new TrySeat(c.Input.Name)).Named("seat").To("seats").Retry(2, 1.Seconds()),
            f => f.Tcc(c => new TryRoom(c.Input.Name)).Named("room").To("rooms").Retry(2, 1.Seconds()));
        var hold = saga.Step(c => new HoldMoney(c.Input.Name, c.Get(seat).Price + c.Get(room).Price))
            .Compensate((c, h) => new ReleaseMoney(h.Id)).Named("hold").To("money").Retry(2, 1.Seconds());
        saga.Step(c => new Capture(c.Get(hold).Id)).Pivot().Named("capture").To("money").Retry(2, 1.Seconds());
        saga.Step(c => new SendTicket(c.Get(seat).Id)).Named("ticket").To("post").Retry(2, 1.Seconds());
        return saga.Complete(c => new Booked(c.Get(seat).Id, c.Get(room).Id));
    }
}

/// <summary>Plain steps only: undone in reverse, with a look-up between that has nothing to undo.</summary>
[Saga("plain")]
internal sealed class Plain : Saga<Traveller, string>
{
    protected override SagaEnd<string> Define(Flow<Traveller> saga)
    {
        saga.Step(c => new HoldMoney(c.Input.Name, 1)).Compensate((c, h) => new ReleaseMoney(h.Id)).Named("one").To("money").Retry(2, 1.Seconds());
        saga.Step(c => new LookUp(c.Input.Name)).ReadOnly().Named("look").To("books").Retry(2, 1.Seconds());
        saga.Step(c => new HoldMoney(c.Input.Name, 2)).Compensate(c => new ReleaseAll(c.Input.Name)).Named("two").To("money").Retry(2, 1.Seconds());
        return saga.Complete(_ => "done");
    }
}

/// <summary>A mapping that says something else each time, as one with a clock or a random number in it does.</summary>
[Saga("moody")]
internal sealed class Moody : Saga<Traveller, string>
{
    private int _moods;

    protected override SagaEnd<string> Define(Flow<Traveller> saga)
    {
        saga.Tcc(c => new TrySeat($"{c.Input.Name} {++_moods}")).Named("seat").To("seats").Retry(3, 1.Seconds());
        return saga.Complete(_ => "done");
    }
}

/// <summary>A short branch beside a long one.</summary>
[Saga("fork")]
internal sealed class Fork : Saga<Traveller, string>
{
    protected override SagaEnd<string> Define(Flow<Traveller> saga)
    {
        saga.Parallel(
            f => f.Tcc(c => new TrySeat(c.Input.Name)).Named("seat").To("seats"),
            f =>
            {
                f.Tcc(c => new TryRoom(c.Input.Name)).Named("room").To("rooms");
                return f.Tcc(c => new TryCar(c.Input.Name)).Named("car").To("cars");
            });
        saga.Step(c => new HoldMoney(c.Input.Name, 1)).Compensate((c, h) => new ReleaseMoney(h.Id)).Named("hold").To("money");
        return saga.Complete(_ => "done");
    }
}

/// <summary>Something read beside the pivot.</summary>
[Saga("beside")]
internal sealed class Beside : Saga<Traveller, string>
{
    protected override SagaEnd<string> Define(Flow<Traveller> saga)
    {
        saga.Tcc(c => new TrySeat(c.Input.Name)).Named("seat").To("seats");
        saga.Parallel(
            f => f.Step(c => new Capture(c.Input.Name)).Pivot().Named("capture").To("money"),
            f => f.Step(c => new LookUp(c.Input.Name)).ReadOnly().Named("look").To("books").Retry(1));
        return saga.Complete(_ => "done");
    }
}

/// <summary>Mappings that throw: in a step, in the result, after the pivot, in a compensation.</summary>
internal sealed class Throwing
{
    [Saga("throws-in-step")]
    internal sealed class InStep : Saga<Traveller, string>
    {
        protected override SagaEnd<string> Define(Flow<Traveller> saga)
        {
            saga.Tcc(c => new TrySeat(c.Input.Name)).Named("seat").To("seats");
            saga.Tcc<TryRoom, Item>(c => throw new InvalidOperationException("no room in the data")).Named("room").To("rooms");
            return saga.Complete(_ => "done");
        }
    }

    [Saga("throws-in-result")]
    internal sealed class InResult : Saga<Traveller, string>
    {
        protected override SagaEnd<string> Define(Flow<Traveller> saga)
        {
            saga.Tcc(c => new TrySeat(c.Input.Name)).Named("seat").To("seats");
            return saga.Complete<string>(_ => throw new InvalidOperationException("no result"));
        }
    }

    [Saga("throws-after-pivot")]
    internal sealed class AfterPivot : Saga<Traveller, string>
    {
        protected override SagaEnd<string> Define(Flow<Traveller> saga)
        {
            saga.Step(c => new Capture(c.Input.Name)).Pivot().Named("capture").To("money");
            saga.Step<SendTicket, Nothing>(c => throw new InvalidOperationException("no address")).Named("ticket").To("post");
            return saga.Complete(_ => "done");
        }
    }

    [Saga("throws-in-compensation")]
    internal sealed class InCompensation : Saga<Traveller, string>
    {
        protected override SagaEnd<string> Define(Flow<Traveller> saga)
        {
            saga.Step(c => new HoldMoney(c.Input.Name, 1)).Compensate<ReleaseMoney, Nothing>((_, _) => throw new InvalidOperationException("no id")).Named("hold").To("money");
            saga.Tcc(c => new TrySeat(c.Input.Name)).Named("seat").To("seats");
            return saga.Complete(_ => "done");
        }
    }
}
