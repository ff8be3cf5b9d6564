namespace Sagas.Runtime;

/// <summary>Carries commands to participants. Replies come back by <see cref="SagaEngine.ReceiveAsync"/>.</summary>
public interface ITransport
{
    /// <summary>The queue on which this node hears replies; goes out in every command's <c>replyTo</c>.</summary>
    string ReplyTo { get; }

    /// <summary>Sends one envelope to a participant's queue. Returns when the bus has it.</summary>
    /// <exception cref="Exception">The bus does not answer: the envelope may or may not have been sent.</exception>
    Task SendAsync(string participant, CommandBatch batch, CancellationToken cancel);
}

/// <summary>Where no bus is chosen. No definition that needs one is loaded, so it hears only of sagas that a node with a bus has begun.</summary>
internal sealed class NoBus : ITransport
{
    public string ReplyTo => "";

    public Task SendAsync(string participant, CommandBatch batch, CancellationToken cancel) =>
        throw new InvalidOperationException($"This node has no bus to reach participant '{participant}' by. Choose one: AddSagas(s => s.UseInMemoryBus()).");
}
