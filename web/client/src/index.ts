/** DocuChat from TypeScript: typed calls, and answers as they are made. Nothing beside the platform is needed. */
export {
  type AnswerStream,
  ask,
  giveFeedback,
  type Question,
  regenerate,
  resume,
  stop,
  takeBackFeedback,
} from "./answers.ts";
export {
  type AnswerOf,
  type CallOf,
  type Connection,
  type Credentials,
  call,
  connect,
  type OperationName,
} from "./connection.ts";
export { type Conversation, openConversation } from "./conversation.ts";
export { DocuChatError, type ErrorCode } from "./errors.ts";
export type { DeltaFrame, EndFrame, Frame, Place, Reading, SourcesFrame, StartFrame } from "./following.ts";
export type { components, paths } from "./schema.ts";
export { askAsVisitor, type PastChat, pastChat, type ShownChatbot, showChatbot, type Visit, visit } from "./visitor.ts";
export { randomKey } from "./waiting.ts";
