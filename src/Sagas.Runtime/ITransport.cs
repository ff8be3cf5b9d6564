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
