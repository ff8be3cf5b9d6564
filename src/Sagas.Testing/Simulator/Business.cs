using Sagas.Participants;

namespace Sagas.Testing.Simulator;

// What the simulated world's customers buy. The definitions have every kind of step in every place that matters; the handlers are as the README asks
// users to write theirs: an effect and its key are one write, and a second call under the same key finds it. A try may say no even then, since its cancel does
// without the reservation; a do that took effect does not.

internal sealed record Order(int Number);

internal sealed record Held(string Key);

internal sealed record Reserve(int Number, int Copy) : ITryCommand<Reserve, Held>;

internal sealed record Charge(int Number) : ICommand<Charge, Held>;

internal sealed record Refund(string Key) : ICommand<Refund>;

internal sealed record Note(int Number) : ICommand<Note, Held>;

internal sealed record Strike(int Number) : ICommand<Strike>;

internal sealed record Look(int Number) : ICommand<Look, Held>;

internal sealed record Capture(string Key) : ICommand<Capture>;

internal sealed record Ship(int Number) : ICommand<Ship>;

/// <summary>Two reservations, a hold that its own result undoes, the pivot, and a step that only goes forward.</summary>
[Saga("journey")]
internal sealed class Journey : Saga<Order, string>
{
    protected override SagaEnd<string> Define(Flow<Order> saga)
    {
        var (seat, room) = saga.Parallel(
            f => f.Tcc(c => new Reserve(c.Input.Number, 1)).Named("seat").To("east").Timeout(5.Seconds()).Retry(4, 200.Milliseconds(), 4.Seconds()),
            f => f.Tcc(c => new Reserve(c.Input.Number, 2)).Named("room").To("west").Timeout(3.Seconds()).Retry(3, 500.Milliseconds(), 5.Seconds()));
        var hold = saga.Step(c => new Charge(c.Input.Number)).Compensate((c, h) => new Refund(h.Key)).Named("hold").To("east").Retry(3, 200.Milliseconds(), 2.Seconds());
        saga.Step(c => new Capture(c.Get(hold).Key)).Pivot().Named("capture").To("east").Retry(5, 200.Milliseconds(), 3.Seconds());
        saga.Step(c => new Ship(c.Input.Number)).Named("ship").To("west").Retry(5, 200.Milliseconds(), 3.Seconds());
        return saga.Complete(c => c.Get(seat).Key + c.Get(room).Key);
    }
}

/// <summary>Three reservations side by side and no pivot: the fewest commits, and replies that ride on them.</summary>
[Saga("bundle")]
internal sealed class Bundle : Saga<Order, string>
{
    protected override SagaEnd<string> Define(Flow<Order> saga)
    {
        saga.Parallel(
            f => f.Tcc(c => new Reserve(c.Input.Number, 1)).Named("one").To("east").Retry(4, 100.Milliseconds(), 2.Seconds()).Timeout(2.Seconds()),
            f => f.Tcc(c => new Reserve(c.Input.Number, 2)).Named("two").To("west").Retry(4, 100.Milliseconds(), 2.Seconds()).Timeout(2.Seconds()),
            f => f.Tcc(c => new Reserve(c.Input.Number, 3)).Named("three").To("east").Retry(2, 100.Milliseconds(), 2.Seconds()).Timeout(4.Seconds()));
        return saga.Complete(_ => "bundled");
    }
}

/// <summary>Plain steps one after the other under a total timeout; one is looked up only, and one is undone without its result.</summary>
[Saga("errand")]
internal sealed class Errand : Saga<Order, string>
{
    protected override SagaEnd<string> Define(Flow<Order> saga)
    {
        saga.Timeout(20.Seconds());
        saga.Step(c => new Look(c.Input.Number)).ReadOnly().Named("look").To("west").Retry(3, 100.Milliseconds(), 1.Seconds()).Timeout(2.Seconds());
        saga.Step(c => new Note(c.Input.Number)).Compensate(c => new Strike(c.Input.Number)).Named("note").To("east").Retry(3, 300.Milliseconds(), 2.Seconds()).Timeout(2.Seconds());
        saga.Step(c => new Charge(c.Input.Number)).Compensate((c, h) => new Refund(h.Key)).Named("pay").To("west").Retry(2, 300.Milliseconds(), 2.Seconds()).Timeout(3.Seconds());
        saga.Tcc(c => new Reserve(c.Input.Number, 1)).Named("slot").To("east").Retry(3, 300.Milliseconds(), 2.Seconds()).Timeout(3.Seconds());
        return saga.Complete(_ => "run");
    }
}

/// <summary>All handlers of one process; what they do is written in the world's ledger, which outlives it.</summary>
internal sealed class Service(World world, Process process)
    : ITccHandler<Reserve, Held>, IStepHandler<Charge, Held>, IStepHandler<Refund>, IStepHandler<Note, Held>, IStepHandler<Strike>, IStepHandler<Look, Held>, IStepHandler<Capture>, IStepHandler<Ship>
{
    public Task<Held> TryAsync(Reserve command, CommandContext context, CancellationToken cancel) => ForwardAsync(context, mayRefuse: true);

    public Task ConfirmAsync(Reserve command, Held? reservation, CommandContext context, CancellationToken cancel)
    {
        if (reservation?.Key != Wire.Key(context.Saga, context.Step, Phase.Try)) world.Audit.Fault("P2", context.Saga, $"the confirm of '{context.Step}' came with reservation '{reservation?.Key}'");
        return ActAsync(context, mayRefuse: false);
    }

    public Task CancelAsync(Reserve command, Held? reservation, CommandContext context, CancellationToken cancel) => UndoAsync(context, Phase.Try);

    public Task<Held> HandleAsync(Charge command, CommandContext context, CancellationToken cancel) => ForwardAsync(context, mayRefuse: true);

    public Task HandleAsync(Refund command, CommandContext context, CancellationToken cancel)
    {
        if (command.Key != Wire.Key(context.Saga, context.Step, Phase.Do)) world.Audit.Fault("P2", context.Saga, $"the refund of '{context.Step}' came with key '{command.Key}'");
        return UndoAsync(context, Phase.Do);
    }

    public Task<Held> HandleAsync(Note command, CommandContext context, CancellationToken cancel) => ForwardAsync(context, mayRefuse: true);

    public Task HandleAsync(Strike command, CommandContext context, CancellationToken cancel) => UndoAsync(context, Phase.Do);

    public Task<Held> HandleAsync(Look command, CommandContext context, CancellationToken cancel) => ForwardAsync(context, mayRefuse: true);

    public Task HandleAsync(Capture command, CommandContext context, CancellationToken cancel) => ForwardAsync(context, mayRefuse: true);

    public Task HandleAsync(Ship command, CommandContext context, CancellationToken cancel) => ForwardAsync(context, mayRefuse: false);

    private async Task<Held> ForwardAsync(CommandContext context, bool mayRefuse)
    {
        await ActAsync(context, mayRefuse);
        return new Held(context.Key);
    }

    private Task UndoAsync(CommandContext context, Phase first)
    {
        world.Audit.Undoing(context, first);
        return ActAsync(context, mayRefuse: false);
    }

    private async Task ActAsync(CommandContext context, bool mayRefuse)
    {
        var faults = world.Faults;
        world.Audit.Called(context);
        if (faults.Strikes(Fault.CrashBeforeEffect)) await world.CrashHereAsync(process, Fault.CrashBeforeEffect);
        if (faults.Strikes(Fault.SlowHandler)) await Task.Delay(faults.Time(Fault.SlowHandler, 15.Seconds()), process, CancellationToken.None);
        if (!process.Alive) await World.Never;
        if (!world.Audit.IsDone(context))
        {
            if (mayRefuse && faults.Strikes(Fault.Refusal)) throw new RefusedException("no", "Not this one.");
            if (faults.Strikes(Fault.Busy)) throw new BusyException(faults.Time(Fault.Busy, 5.Seconds()));
            if (faults.Strikes(Fault.HandlerError)) throw new IOException("It broke before it was done.");
            world.Audit.Done(context);
        }
        else if (context.Phase == Phase.Try && !faults.Quiet && faults.Joins(Fault.RefusalAfterEffect)) throw new RefusedException("no", "Not this one any more.");
        if (faults.Strikes(Fault.CrashAfterEffect)) await world.CrashHereAsync(process, Fault.CrashAfterEffect);
        if (faults.Strikes(Fault.HandlerErrorAfterEffect)) throw new IOException("It was done and broke.");
    }
}
