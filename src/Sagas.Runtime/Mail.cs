using Sagas.Journal;

namespace Sagas.Runtime;

/// <summary>What comes in by a worker's one door.</summary>
internal abstract class Mail(SagaId id)
{
    public SagaId Id { get; } = id;
}

/// <summary>A client starts a saga and waits until it is durable.</summary>
internal sealed class StartMail(SagaDefinition definition, StartRequest request, SagaId id, TimeProvider time) : Mail(id)
{
    private readonly TaskCompletionSource<StartResult> _answer = new(time.Continuations());

    public SagaDefinition Definition { get; } = definition;
    public StartRequest Request { get; } = request;

    /// <summary>The definition that it brings; null: one that is loaded.</summary>
    public InlineDefinition? Inline { get; init; }

    public Task<StartResult> Answer => _answer.Task;

    public void Reply(StartResult result) => _answer.TrySetResult(result);

    public void Fail(Exception why) => _answer.TrySetException(why);
}

/// <summary>Something happened to a saga.</summary>
internal class EventMail(SagaId id, SagaEvent happened) : Mail(id)
{
    public SagaEvent Happened { get; } = happened;
}

/// <summary>An operator asks something of a saga and waits for the durable answer.</summary>
internal sealed class RequestMail(SagaId id, SagaEvent happened, TimeProvider time) : EventMail(id, happened)
{
    private readonly TaskCompletionSource<RequestResult> _answer = new(time.Continuations());

    public Task<RequestResult> Answer => _answer.Task;

    /// <summary>Why it is refused, decided in the batch under way; null: it is not.</summary>
    public string? Refused { get; set; }

    public void Reply(RequestResult result) => _answer.TrySetResult(result);

    public void Fail(Exception why) => _answer.TrySetException(why);
}

/// <summary>A saga's timer is due; which of its steps it means, the state says.</summary>
/// <param name="id">The saga.</param>
/// <param name="at">The time it was called for, in ticks; null: nobody's call, but to be looked at.</param>
internal sealed class TimerMail(SagaId id, long? at = null) : Mail(id)
{
    public long? At { get; } = at;
}

/// <summary>A saga that the store handed to this node.</summary>
internal sealed class RecoveredMail(SagaState saga, SagaDefinition definition) : Mail(saga.Id)
{
    public SagaState Saga { get; } = saga;
    public SagaDefinition Definition { get; } = definition;
}

/// <summary>Another node has taken over a saga of this one.</summary>
internal sealed class TakenMail(SagaId id) : Mail(id);

/// <summary>Lazy replies have waited long enough.</summary>
internal sealed class FlushMail() : Mail(default);
